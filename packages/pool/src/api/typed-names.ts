import { PoolError } from "@openpool/base";
import { formatRig, parseOpenSecret, type RigName, type WorkerAddress } from "@openpool/protocol";
import { parseWorker } from "../workers/identity.ts";

/** A rig by the name that an operator typed. @throws PoolError `admin/bad-rig-name` */
export function rigOf(name: string): RigName {
  const parsed = parseOpenSecret(name);
  if (typeof parsed === "string") {
    throw new PoolError({ code: "admin/bad-rig-name" }, `"${name}" is no rig: write 0xADDRESS or 0xADDRESS.NAME.`);
  }
  return { worker: parsed.worker, rig: parsed.rig };
}

/**
 * The same, of one that was seen: a name that never was can only be mistyped, and whoever drains it would stop another one
 * that is at work. @throws PoolError `admin/bad-rig-name`, `admin/unknown-rig`
 */
export function knownRigOf(name: string, known: readonly { readonly rig: RigName }[]): RigName {
  const rig = rigOf(name);
  if (known.some((one) => formatRig(one.rig) === formatRig(rig))) return rig;
  throw new PoolError(
    { code: "admin/unknown-rig" },
    `No rig ${formatRig(rig)} has been seen: \`openpool rigs list\` shows those that were.`,
  );
}

/** A worker by the address that an operator typed. @throws PoolError `admin/bad-address` */
export function workerOf(text: string): WorkerAddress {
  const worker = parseWorker(text);
  if (worker) return worker;
  throw new PoolError({ code: "admin/bad-address" }, `"${text}" is no payout address: check it for a typo.`);
}
