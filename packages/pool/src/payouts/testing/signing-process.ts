/** Holds a key and signs, as a KMS or a hardware wallet does: its key is nowhere else, it is slow, and at first it is locked. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { signerOfKey } from "../../chain/signer.ts";
import type { UnsignedTransaction } from "../ports.ts";

const signer = signerOfKey(randomBytes(32));
let asked = 0;
process.on("message", (transaction: UnsignedTransaction) => {
  asked += 1;
  if (asked === 1) process.send?.({ refused: "the device is locked" });
  else void sleep(20).then(async () => process.send?.(await signer.sign(transaction)));
});
process.send?.({ address: signer.address });
