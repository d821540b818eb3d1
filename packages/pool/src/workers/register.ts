import { randomBytes } from "node:crypto";
import { type Clock, PoolError } from "@openpool/base";
import { formatRig, type RigName, type WorkerAddress } from "@openpool/protocol";
import type { CredentialRecord, Store, WorkerRecord } from "../store/types.ts";
import type { Connections } from "./connections.ts";
import { hashSecret, type Identities } from "./identity.ts";

/** Who asked for a change. */
export type ChangedBy = "operator" | "worker";

export interface WorkersRegisterDeps {
  readonly store: Pick<
    Store,
    "append" | "workers" | "credentials" | "putWorker" | "addCredential" | "revokeCredential"
  >;
  readonly identities: Identities;
  readonly connections: Pick<Connections, "all">;
  readonly clock: Clock;
}

/** Who may work here and how they prove who they are: changes are kept, recorded, and count at once. */
export class WorkersRegister {
  readonly #deps: WorkersRegisterDeps;

  constructor(deps: WorkersRegisterDeps) {
    this.#deps = deps;
  }

  /** Reads everything anew. */
  async load(): Promise<void> {
    const { store, identities } = this.#deps;
    identities.load(await store.workers(), await store.credentials());
  }

  worker(address: WorkerAddress): WorkerRecord | undefined {
    return this.#deps.identities.worker(address);
  }

  credentials(): Promise<readonly CredentialRecord[]> {
    return this.#deps.store.credentials();
  }

  /** Issues a credential. Its secret is told only now. */
  async issue(name: RigName, by: ChangedBy): Promise<{ id: string; secret: string; name: string }> {
    const { store, clock } = this.#deps;
    const secret = `op_${randomBytes(24).toString("base64url")}`;
    const id = randomBytes(6).toString("hex");
    const createdAt = new Date(clock.now()).toISOString();
    await store.addCredential({ id, secretHash: hashSecret(secret), name, createdAt, revokedAt: undefined });
    await store.append([
      { type: "worker.credential-issued", worker: name.worker, rig: name.rig, data: { credential: id, by } },
    ]);
    await this.load();
    return { id, secret, name: formatRig(name) };
  }

  /** @throws PoolError `admin/unknown-credential` */
  async revoke(id: string, by: ChangedBy): Promise<void> {
    const { store, clock, connections } = this.#deps;
    const credential = (await store.credentials()).find((one) => one.id === id);
    if (!credential) {
      throw new PoolError(
        { code: "admin/unknown-credential" },
        `There is no credential ${id}: see \`openpool workers list\`.`,
      );
    }
    const { worker, rig } = credential.name;
    await store.revokeCredential(id, clock.now());
    await store.append([{ type: "worker.credential-revoked", worker, rig, data: { credential: id, by } }]);
    await this.load();
    for (const connection of connections.all()) {
      if (connection.secretHash === credential.secretHash) connection.end("the credential was revoked");
    }
  }

  /** Changes what is named; `null` takes it away. */
  async change(
    worker: WorkerAddress,
    change: { readonly locked?: boolean; readonly banned?: string | null; readonly note?: string | null },
    by: ChangedBy,
  ): Promise<WorkerRecord> {
    const { store, connections } = this.#deps;
    const old = this.worker(worker);
    const record: WorkerRecord = {
      worker,
      locked: change.locked ?? old?.locked ?? false,
      banned: change.banned === undefined ? old?.banned : (change.banned ?? undefined),
      payTo: old?.payTo,
      note: change.note === undefined ? old?.note : (change.note ?? undefined),
    };
    await store.putWorker(record);
    await store.append([{ type: "worker.changed", worker, data: { ...change, by } }]);
    await this.load();
    const why = change.banned
      ? "the worker was banned"
      : change.locked
        ? "the address was locked to issued credentials"
        : undefined;
    if (why === undefined) return record;
    for (const connection of connections.all()) if (connection.rig.worker === worker) connection.end(why);
    return record;
  }
}
