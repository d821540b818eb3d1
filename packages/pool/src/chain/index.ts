export { calls } from "./calls.ts";
export { batchPayerAddress, deployBatchPayer } from "./deploy.ts";
export { type LocalChain, startLocalChain } from "./local-chain.ts";
export { checkChainId, openChain } from "./open-chain.ts";
export { isSignedPayTo, payToJson } from "./payto.ts";
export { fiatPriceOf, tokenPriceOf } from "./prices.ts";
export { createSignatureCheck, type SignatureCheck } from "./signatures.ts";
export { newKeystore, parseKey, signerOfKey, signerOfKeystore } from "./signer.ts";
