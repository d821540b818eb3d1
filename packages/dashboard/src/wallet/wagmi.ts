import {
  type Config,
  connect,
  type Connector,
  createConfig,
  disconnect,
  getConnectors,
  http,
  injected,
  signMessage,
  signTypedData,
  watchConnectors,
} from "@wagmi/core";
import {
  type Chain,
  type EIP1193Provider,
  isAddressEqual,
  numberToHex,
  type TypedDataDefinition,
  UserRejectedRequestError,
} from "viem";
import { explorerOf } from "@openpool/protocol";
import { type ToSign, type Wallet, WalletProblem, type WalletWords } from "./types.ts";

/* Everything of wagmi, and so a file of its own: it is loaded with a page that signs, and with no other. */

/** Chains that not every wallet knows by itself, with a node for everybody: the pool's own may be nobody else's to know. */
const PUBLIC: Readonly<Record<number, readonly [name: string, node: string]>> = {
  42_161: ["Arbitrum One", "https://arb1.arbitrum.io/rpc"],
  421_614: ["Arbitrum Sepolia", "https://sepolia-rollup.arbitrum.io/rpc"],
};

function chainOf(id: number): Chain {
  const [name = `chain ${id}`, ...nodes] = PUBLIC[id] ?? [];
  const explorer = explorerOf(id);
  return {
    id,
    name,
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: nodes } },
    ...(explorer === undefined ? {} : { blockExplorers: { default: { name: "Explorer", url: explorer } } }),
  };
}

const configs = new Map<number, Config>();

/** For the chain that the pool pays on; a wallet may be on another. Nothing is read from the chain, and nothing remembered. */
function configOf(chainId: number): Config {
  const known = configs.get(chainId);
  if (known !== undefined) return known;
  const chain = chainOf(chainId);
  const config = createConfig({
    chains: [chain],
    transports: { [chainId]: http(location.origin) },
    // A wallet that is older than EIP-6963 stands in `window.ethereum`; the others make themselves known.
    connectors: [injected()],
    storage: null,
  });
  configs.set(chainId, config);
  return config;
}

const isLegacy = ({ id }: Connector): boolean => id === "injected";

/** Those that are there; the one without a name of its own only where no other is. */
async function walletsOf(connectors: readonly Connector[]): Promise<readonly Wallet[]> {
  const there = await Promise.all(
    connectors.map(async (one) => ((await one.getProvider().catch(() => undefined)) === undefined ? [] : [one])),
  );
  const found = there.flat();
  const named = found.filter((one) => !isLegacy(one));
  return (named.length > 0 ? named : found).map((one) => ({
    id: one.uid,
    name: isLegacy(one) ? "" : one.name.slice(0, 40),
  }));
}

/** Tells the wallets of this browser now and whenever there are others; returns how to stop. */
export function watchWallets(chainId: number, tell: (wallets: readonly Wallet[]) => void): () => void {
  const config = configOf(chainId);
  let asked = 0;
  const look = (): void => {
    const turn = ++asked;
    void walletsOf(getConnectors(config)).then((wallets) => {
      if (turn === asked) tell(wallets);
    });
  };
  const stop = watchConnectors(config, { onChange: look });
  look();
  return () => {
    asked++;
    stop();
  };
}

/**
 * Asks a wallet for an address, and then for its signature. It is asked nothing more once `waiting` is aborted: whoever
 * stopped is not surprised by another window.
 */
export async function signWith(
  wallet: Wallet,
  worker: `0x${string}`,
  what: ToSign,
  words: WalletWords,
  waiting: AbortSignal,
): Promise<string> {
  const config = configOf(what.chainId);
  const connector = getConnectors(config).find(({ uid }) => uid === wallet.id);
  if (connector === undefined) throw new WalletProblem(words.offers(""));
  const account = await accountOf(config, connector, worker, words);
  waiting.throwIfAborted();
  if ("document" in what) await goTo(config.chains[0], connector, words, waiting);
  // Not every wallet tells where it went, and wagmi signs nothing where it is not told.
  connector.emitter.emit("change", { chainId: await connector.getChainId() });
  waiting.throwIfAborted();
  if ("text" in what) return signMessage(config, { account, connector, message: what.text });
  // The pool wrote it, as a document that any wallet signs; the types of viem want to know which.
  const document = what.document as TypedDataDefinition;
  return signTypedData(config, { account, connector, ...document });
}

/** The worker's address, of those that the wallet lets this page see. */
async function accountOf(
  config: Config,
  connector: Connector,
  worker: `0x${string}`,
  words: WalletWords,
): Promise<`0x${string}`> {
  const isWorker = (one: `0x${string}`): boolean => isAddressEqual(one, worker);
  const open = config.state.connections.get(connector.uid);
  const seen = open?.accounts.find(isWorker);
  if (seen !== undefined) return seen;
  // A wallet that let this page see another address is asked anew, and its owner may choose again.
  if (open !== undefined) await disconnect(config, { connector });
  const { accounts } = await connect(config, { connector });
  const account = accounts.find(isWorker);
  if (account === undefined) throw new WalletProblem(words.offers(accounts[0]?.toLowerCase() ?? ""));
  return account;
}

/**
 * Takes the wallet to a chain, and offers it one of those that everybody knows where it lacks it. Not by wagmi's own way,
 * which waits for ever for a wallet that says it went and did not, and offers chains without a node.
 */
async function goTo(chain: Chain, connector: Connector, words: WalletWords, waiting: AbortSignal): Promise<void> {
  const isThere = async (): Promise<boolean> => {
    const there = (await connector.getChainId()) === chain.id;
    waiting.throwIfAborted();
    return there;
  };
  if (await isThere()) return;
  const provider = (await connector.getProvider()) as EIP1193Provider;
  const chainId = numberToHex(chain.id);
  const change = (): Promise<unknown> =>
    provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  try {
    await change();
  } catch (error) {
    if (codeOf(error) === UserRejectedRequestError.code) throw error;
    const [node] = chain.rpcUrls.default.http;
    waiting.throwIfAborted();
    if (codeOf(error) === UNKNOWN_CHAIN && node !== undefined) {
      const { name: chainName, nativeCurrency, blockExplorers } = chain;
      const blockExplorerUrls = blockExplorers === undefined ? [] : [blockExplorers.default.url];
      const offered = { chainId, chainName, nativeCurrency, rpcUrls: [node], blockExplorerUrls };
      await provider.request({ method: "wallet_addEthereumChain", params: [offered] }).catch((refused: unknown) => {
        if (codeOf(refused) === UserRejectedRequestError.code) throw refused;
      });
      // Some go there at once, others want to be asked again.
      if (!(await isThere())) await change().catch(() => {});
    }
  }
  if (!(await isThere())) throw new WalletProblem(words.otherChain(chain.name));
}

/** Of a wallet that does not know a chain (EIP-3085). */
const UNKNOWN_CHAIN = 4902;

/** What a wallet says is wrong, by number; some wrap the one that counts. */
function codeOf(error: unknown): number | undefined {
  const { code, data } = (error ?? {}) as {
    readonly code?: number;
    readonly data?: { readonly originalError?: { readonly code?: number } };
  };
  return data?.originalError?.code ?? code;
}
