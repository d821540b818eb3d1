import type { WorkerAddress } from "@openpool/protocol";
import type { NewSession, RigLabel, Session, SettingsStore } from "../settings/ports.ts";
import type { PgConnection } from "./pg-connection.ts";
import { PgPool } from "./pg-pool.ts";

const date = (ms: number): Date => new Date(ms);

/** Sessions and rig names in PostgreSQL. The schema is the event log's: open that first. */
export class PgSettingsStore implements SettingsStore, AsyncDisposable {
  readonly #pool: PgPool;

  constructor(connection: PgConnection) {
    this.#pool = new PgPool(connection, { name: "settings", max: 2, timeoutMs: 10_000, about: "settings" });
  }

  async addSession(
    { nonce, forgetAtMs }: { readonly nonce: string; readonly forgetAtMs: number },
    session: NewSession,
    most: number,
  ): Promise<boolean> {
    const now = date(session.createdAtMs);
    await this.#pool.query(
      `with nonces as (delete from openpool.signin_nonces where expires_at < $1)
       delete from openpool.signin_sessions where expires_at < $1`,
      [now],
    );
    const rows = await this.#pool.query(
      `with used as (insert into openpool.signin_nonces (nonce, expires_at) values ($1, $2)
         on conflict do nothing returning nonce),
       old as (delete from openpool.signin_sessions where token_hash in (
         select token_hash from openpool.signin_sessions where worker = $4 and exists (select from used)
         order by created_at desc, token_hash offset $7))
       insert into openpool.signin_sessions (token_hash, worker, created_at, expires_at)
       select $3, $4, $5, $6 from used returning token_hash`,
      [nonce, date(forgetAtMs), session.tokenHash, session.worker, now, date(session.expiresAtMs), most - 1],
    );
    return rows.length > 0;
  }

  async session(tokenHash: string, nowMs: number): Promise<Session | undefined> {
    const [row] = await this.#pool.query<{ worker: WorkerAddress; expires_at: Date }>(
      "select worker, expires_at from openpool.signin_sessions where token_hash = $1 and expires_at > $2",
      [tokenHash, date(nowMs)],
    );
    return row && { worker: row.worker, expiresAtMs: row.expires_at.getTime() };
  }

  async endSession(tokenHash: string): Promise<void> {
    await this.#pool.query("delete from openpool.signin_sessions where token_hash = $1", [tokenHash]);
  }

  async endSessions(worker: WorkerAddress): Promise<void> {
    await this.#pool.query("delete from openpool.signin_sessions where worker = $1", [worker]);
  }

  async countSessions(worker: WorkerAddress, nowMs: number): Promise<number> {
    const [row] = await this.#pool.query<{ n: string }>(
      "select count(*) as n from openpool.signin_sessions where worker = $1 and expires_at > $2",
      [worker, date(nowMs)],
    );
    return Number(row?.n ?? 0);
  }

  labels(): Promise<readonly RigLabel[]> {
    return this.#pool.query<RigLabel>("select worker, rig, label from openpool.rig_labels");
  }

  async putLabel(worker: WorkerAddress, rig: string, label: string | undefined): Promise<void> {
    if (label === undefined) {
      await this.#pool.query("delete from openpool.rig_labels where worker = $1 and rig = $2", [worker, rig]);
      return;
    }
    await this.#pool.query(
      `insert into openpool.rig_labels (worker, rig, label) values ($1, $2, $3)
       on conflict (worker, rig) do update set label = excluded.label`,
      [worker, rig, label],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }
}
