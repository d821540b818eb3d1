import { randomBytes } from "node:crypto";
import { type Clock, PoolError } from "@openpool/base";
import { formatRig, type RigName, type WorkerAddress } from "@openpool/protocol";
import type { CredentialRecord, CredentialRoom, Store, WorkerRecord } from "../store/types.ts";
import type { Connection } from "./connections.ts";
import { hashSecret, type Identities } from "./identity.ts";

/** Who asked for a change. */
export type ChangedBy = "operator" | "worker";

export interface WorkersRegisterDeps {
  readonly store: Pick<
    Store,
    | "append"
    | "workers"
    | "worker"
    | "changeWorker"
    | "credentials"
    | "credentialRoom"
    | "addCredential"
    | "revokeCredential"
  >;
  readonly identities: Identities;
  readonly connections: { all(): Iterable<Pick<Connection, "rig" | "secretHash" | "end">> };
  readonly clock: Clock;
}

/** Who may work here and how they prove who they are: changes are kept, recorded, and count at once. */
export class WorkersRegister {
  readonly #deps: WorkersRegisterDeps;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: WorkersRegisterDeps) {
    this.#deps = deps;
  }

  /**
   * Reads everything anew. Whoever shares the database with another process does so again and again: at a restart the
   * operator may ban somebody at the process that is about to go. Who may not work any more is sent away.
   */
  load(): Promise<void> {
    const { store, identities, connections } = this.#deps;
    return this.#inTurn(async () => {
      identities.load(await store.workers(), await store.credentials());
      for (const connection of connections.all()) {
        if (identities.isDismissed(connection.rig, connection.secretHash)) connection.end("it may not work any more");
      }
    });
  }

  /** As the database has it. */
  worker(address: WorkerAddress): Promise<WorkerRecord | undefined> {
    return this.#deps.store.worker(address);
  }

  /** Those of one worker, or of all. */
  credentials(worker?: WorkerAddress): Promise<readonly CredentialRecord[]> {
    return this.#deps.store.credentials(worker);
  }

  credentialRoom(worker: WorkerAddress): Promise<CredentialRoom> {
    return this.#deps.store.credentialRoom(worker);
  }

  /** Issues a credential. Its secret is told only now. */
  issue(name: RigName, by: ChangedBy): Promise<{ id: string; secret: string; name: string }> {
    const { store, identities, clock } = this.#deps;
    const secret = `op_${randomBytes(24).toString("base64url")}`;
    const id = randomBytes(6).toString("hex");
    const createdAt = new Date(clock.now()).toISOString();
    const credential = { id, secretHash: hashSecret(secret), name, createdAt, revokedAt: undefined };
    return this.#inTurn(async () => {
      await store.addCredential(credential);
      identities.putCredential(credential);
      await store.append([
        { type: "worker.credential-issued", worker: name.worker, rig: name.rig, data: { credential: id, by } },
      ]);
      return { id, secret, name: formatRig(name) };
    });
  }

  /** @throws PoolError `admin/unknown-credential` */
  revoke(id: string, by: ChangedBy): Promise<void> {
    const { store, identities, clock, connections } = this.#deps;
    return this.#inTurn(async () => {
      const credential = await store.revokeCredential(id, clock.now());
      if (!credential) {
        throw new PoolError(
          { code: "admin/unknown-credential" },
          `There is no credential ${id}: see \`openpool workers list\`.`,
        );
      }
      identities.putCredential(credential);
      for (const connection of connections.all()) {
        if (connection.secretHash === credential.secretHash) connection.end("the credential was revoked");
      }
      const { worker, rig } = credential.name;
      await store.append([{ type: "worker.credential-revoked", worker, rig, data: { credential: id, by } }]);
    });
  }

  /** Changes what is named; `null` takes it away. */
  change(
    worker: WorkerAddress,
    change: { readonly locked?: boolean; readonly banned?: string | null; readonly note?: string | null },
    by: ChangedBy,
  ): Promise<WorkerRecord> {
    const { store, identities, connections } = this.#deps;
    const why = change.banned
      ? "the worker was banned"
      : change.locked
        ? "the address was locked to issued credentials"
        : undefined;
    return this.#inTurn(async () => {
      const record = await store.changeWorker(worker, change);
      identities.putWorker(record);
      if (why !== undefined) {
        // A rig with a credential of its own stays: a stock worker comes back later after every disconnect of its life.
        for (const connection of connections.all()) {
          const { rig, secretHash } = connection;
          if (rig.worker === worker && identities.isDismissed(rig, secretHash)) connection.end(why);
        }
      }
      await store.append([{ type: "worker.changed", worker, data: { ...change, by } }]);
      return record;
    });
  }

  /** One after the other: what is known last is what was written last. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}
