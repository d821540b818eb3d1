import { createHash, timingSafeEqual } from "node:crypto";
import {
  checksumAddress,
  DEFAULT_RIG,
  isAddressProblem,
  parseAddress,
  parseOpenSecret,
  type RigName,
  type WorkerAddress,
} from "@openpool/protocol";
import type { CredentialRecord, WorkerRecord } from "../store/types.ts";

/** Why somebody may not work here. `public` is what the peer reads; the rest is for the operator and the event log. */
export interface IdentityRefusal {
  readonly reason:
    | "bad-secret"
    | "zero-address"
    | "bad-checksum"
    | "bad-rig-name"
    | "wrong-password"
    | "joining-closed"
    | "unknown-credential"
    | "revoked"
    | "locked"
    | "banned"
    | "address-mismatch";
  readonly worker: WorkerAddress | undefined;
  /** What the operator reads. */
  readonly explanation: string;
}

export interface IdentityRules {
  readonly joinOpen: boolean;
  readonly joinRegistered: boolean;
  readonly joinPassword: string | undefined;
}

export function isIdentityRefusal(result: RigName | IdentityRefusal): result is IdentityRefusal {
  return "reason" in result;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** What is kept of a secret. An issued one is random, so a plain hash hides it. */
export function hashSecret(secret: string): string {
  return sha256(secret).toString("hex");
}

function sameText(a: string, b: string): boolean {
  return timingSafeEqual(sha256(a), sha256(b));
}

/**
 * Who a worker is, from the secret that it connects with. Issued credentials are looked up by hash; anything else is an
 * open secret: the payout address itself, with an optional rig name. The pool's password follows either, behind a colon.
 */
export class Identities {
  readonly #rules: IdentityRules;
  #workers = new Map<string, WorkerRecord>();
  #credentials = new Map<string, CredentialRecord>();

  constructor(rules: IdentityRules) {
    this.#rules = rules;
  }

  /** Replaces all that is known. */
  load(workers: readonly WorkerRecord[], credentials: readonly CredentialRecord[]): void {
    this.#workers = new Map(workers.map((record) => [record.worker, record]));
    this.#credentials = new Map(credentials.map((record) => [record.secretHash, record]));
  }

  putWorker(record: WorkerRecord): void {
    this.#workers.set(record.worker, record);
  }

  putCredential(record: CredentialRecord): void {
    this.#credentials.set(record.secretHash, record);
  }

  worker(address: WorkerAddress): WorkerRecord | undefined {
    return this.#workers.get(address);
  }

  /** `ethereumAddress` is what a worker of the Open Pool fork registers with; empty from anybody else. */
  identify(secret: string, ethereumAddress: Uint8Array): RigName | IdentityRefusal {
    const found = this.#nameOf(secret, ethereumAddress);
    if (isIdentityRefusal(found)) return found;
    const banned = this.#workers.get(found.worker)?.banned;
    if (banned !== undefined) return refuse("banned", `the worker is banned: ${banned}`, found.worker);
    if (ethereumAddress.length === 0) return found;
    if (isZero(ethereumAddress)) {
      return refuse("zero-address", "the worker sent the zero address beside its secret", found.worker);
    }
    const sent = ethereumAddress.length === 20 ? checksumAddress(ethereumAddress) : undefined;
    if (sent === found.worker) return found;
    return refuse(
      "address-mismatch",
      `the secret names ${found.worker}, the registration ${sent ?? `${ethereumAddress.length} bytes, which are no address`}`,
      found.worker,
    );
  }

  /**
   * The hash under which a secret is known: that of the issued one in it, whatever password follows, else its own. What
   * is revoked or dismissed is told by it.
   */
  hashOf(secret: string): string {
    return this.#issued(secret)?.credential.secretHash ?? hashSecret(secret);
  }

  /** The issued secret that a secret is or begins with, and the password behind it. */
  #issued(
    secret: string,
  ): { readonly credential: CredentialRecord; readonly password: string | undefined } | undefined {
    const whole = this.#credentials.get(hashSecret(secret));
    if (whole) return { credential: whole, password: undefined };
    // An issued secret has no colon, and a password may have several.
    const colon = secret.indexOf(":");
    if (colon < 0) return undefined;
    const credential = this.#credentials.get(hashSecret(secret.slice(0, colon)));
    return credential && { credential, password: secret.slice(colon + 1) };
  }

  /** Whether a rig that registered with a secret has lost the right to work since: banned, locked out, or revoked. */
  isDismissed({ worker }: RigName, secretHash: string): boolean {
    const record = this.#workers.get(worker);
    const credential = this.#credentials.get(secretHash);
    if (record?.banned !== undefined) return true;
    return credential ? credential.revokedAt !== undefined : record?.locked === true;
  }

  #nameOf(secret: string, ethereumAddress: Uint8Array): RigName | IdentityRefusal {
    const issued = this.#issued(secret);
    if (issued) {
      const { credential, password } = issued;
      if (!this.#passwordFits(password)) return this.#wrongPassword(credential.name.worker);
      if (credential.revokedAt !== undefined) {
        return refuse(
          "revoked",
          `credential ${credential.id} was revoked at ${credential.revokedAt}`,
          credential.name.worker,
        );
      }
      if (!this.#rules.joinRegistered)
        return refuse("joining-closed", "registered joining is off", credential.name.worker);
      return credential.name;
    }
    if (!this.#rules.joinOpen) return refuse("unknown-credential", "no issued credential has this secret", undefined);
    const open = parseOpenSecret(secret);
    if (typeof open !== "string") {
      if (!this.#passwordFits(open.password)) return this.#wrongPassword(open.worker);
      if (this.#workers.get(open.worker)?.locked) {
        return refuse("locked", "the address is locked to issued credentials", open.worker);
      }
      return { worker: open.worker, rig: open.rig };
    }
    // A fork worker's secret is only the pool's password: its address comes with the registration.
    if (open === "not-an-address" && ethereumAddress.length === 20 && this.#passwordFits(secret)) {
      if (isZero(ethereumAddress)) return refuse("zero-address", "the worker sent the zero address", undefined);
      const worker = checksumAddress(ethereumAddress);
      if (this.#workers.get(worker)?.locked)
        return refuse("locked", "the address is locked to issued credentials", worker);
      return { worker, rig: DEFAULT_RIG };
    }
    switch (open) {
      case "not-an-address":
        return refuse("bad-secret", "the secret is neither an issued one nor 0xADDRESS or 0xADDRESS.rig", undefined);
      case "zero-address":
        return refuse("zero-address", "the zero address cannot be paid", undefined);
      case "bad-checksum":
        return refuse("bad-checksum", "the address has a typo: its mixed case does not fit its digits", undefined);
      case "bad-rig-name":
        return refuse("bad-rig-name", "a rig name is 1 to 32 letters, digits, - or _", undefined);
    }
  }

  #wrongPassword(worker: WorkerAddress): IdentityRefusal {
    return refuse("wrong-password", "the pool's password is wrong or missing", worker);
  }

  #passwordFits(given: string | undefined): boolean {
    const wanted = this.#rules.joinPassword;
    return wanted === undefined || (given !== undefined && sameText(given, wanted));
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function refuse(
  reason: IdentityRefusal["reason"],
  explanation: string,
  worker: WorkerAddress | undefined,
): IdentityRefusal {
  return { reason, explanation, worker };
}

/** The address of a worker record that the operator typed, checked. */
export function parseWorker(text: string): WorkerAddress | undefined {
  const address = parseAddress(text);
  return isAddressProblem(address) ? undefined : address;
}
