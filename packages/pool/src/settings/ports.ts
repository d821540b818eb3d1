import type { WorkerAddress } from "@openpool/protocol";

/** A wallet that signed in, for a while. Times are unix ms. */
export interface Session {
  readonly worker: WorkerAddress;
  readonly expiresAtMs: number;
}

export interface NewSession extends Session {
  /** SHA-256 of the token, in hex: who reads the table cannot sign in with it. */
  readonly tokenHash: string;
  readonly createdAtMs: number;
}

export interface RigLabel {
  readonly worker: WorkerAddress;
  readonly rig: string;
  readonly label: string;
}

/** Who is signed in, and what workers call their rigs. */
export interface SettingsStore {
  /**
   * Uses a nonce up and keeps the session, both or neither; of a worker's sessions only the newest `most` stay. False:
   * the nonce was used before.
   */
  addSession(
    nonce: { readonly nonce: string; readonly forgetAtMs: number },
    session: NewSession,
    most: number,
  ): Promise<boolean>;
  session(tokenHash: string, nowMs: number): Promise<Session | undefined>;
  endSession(tokenHash: string): Promise<void>;
  /** Ends all of a worker's. */
  endSessions(worker: WorkerAddress): Promise<void>;
  countSessions(worker: WorkerAddress, nowMs: number): Promise<number>;
  labels(): Promise<readonly RigLabel[]>;
  /** Undefined takes the name away. */
  putLabel(worker: WorkerAddress, rig: string, label: string | undefined): Promise<void>;
}

/** What was asked for cannot be: which part of it, and why, for people. */
export interface Refusal {
  readonly where: string;
  readonly refused: string;
}

export function isRefusal(result: object): result is Refusal {
  return "refused" in result;
}
