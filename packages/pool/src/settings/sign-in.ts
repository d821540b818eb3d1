import { createHash } from "node:crypto";
import type { Clock } from "@openpool/base";
import { isAddressProblem, parseAddress, type WorkerAddress } from "@openpool/protocol";
import type { Refusal, Session, SettingsStore } from "./ports.ts";
import { makeNonce, readSignInText, SIGN_IN_VALID_MS, signInText, type TextProblem } from "./sign-in-text.ts";

/** A stolen cookie is of use for so long at most, whatever its owner does. */
export const SESSION_MS = 60 * 60_000;
const MOST_SESSIONS = 10;
const NONCE_RANDOM_BYTES = 8;
const TOKEN_BYTES = 32;

export interface SignInOptions {
  /** Contracts of this chain may sign; where there is none, it only stands in the text. */
  readonly chainId: number;
  /** Where the pool's pages are, without a slash at the end; undefined: they are reached on this machine alone. */
  readonly publicUrl: string | undefined;
  /** Contract wallets can be asked. */
  readonly contractsSign: boolean;
  /** Signs nonces; the same for all processes of a pool. */
  readonly key: Uint8Array;
}

export interface SignInDeps {
  readonly store: SettingsStore;
  readonly clock: Clock;
  /** Whether this address signed this text. */
  readonly isSigned: (worker: WorkerAddress, text: string, signature: `0x${string}`) => Promise<boolean>;
  readonly random: (bytes: number) => Uint8Array;
}

const EXPLAINED: Record<TextProblem, string> = {
  address: "This is no address.",
  domain: "The text was made for another site: sign in at this pool's own address, and nowhere else.",
  uri: "The text was made for another page.",
  version: "This is not version 1 of EIP-4361.",
  chainId: "The text names another chain than this pool's.",
  nonce: "This pool did not make this text: ask for a new one.",
  issuedAt: "The text is from the future: check the clock.",
  expirationTime: "The text is too old: ask for a new one and sign it within 10 minutes.",
  message: "The text is not as it was given out: sign it letter by letter as it is.",
};

/** What is kept of a token. */
export const hashToken = (token: string): string => createHash("sha256").update(token).digest("hex");

/** Lets owners of addresses in by their wallet's signature (EIP-4361), once a text and for an hour. */
export class SignIn {
  readonly #options: SignInOptions;
  readonly #deps: SignInDeps;

  constructor(options: SignInOptions, deps: SignInDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  get chainId(): number {
    return this.#options.chainId;
  }

  get publicUrl(): string | undefined {
    return this.#options.publicUrl;
  }

  /** A text to sign. `origin`: where the pool's pages are reached. Times are unix ms. */
  ask(worker: WorkerAddress, origin: string): { readonly message: string; readonly expiresAtMs: number } {
    const nowMs = this.#deps.clock.now();
    const { key, chainId } = this.#options;
    const nonce = makeNonce(key, nowMs, this.#deps.random(NONCE_RANDOM_BYTES));
    return { message: signInText({ worker, origin, chainId, nonce }, nowMs), expiresAtMs: nowMs + SIGN_IN_VALID_MS };
  }

  /** Opens a session for whoever signed a text of ours. The token is for the browser's cookie alone. */
  async open(
    message: string,
    signature: `0x${string}`,
    origin: string,
  ): Promise<(Session & { readonly token: string }) | Refusal> {
    const { store, clock, isSigned, random } = this.#deps;
    const nowMs = clock.now();
    const text = readSignInText(message, { ...this.#options, origin, nowMs });
    if (typeof text === "string") return { where: text, refused: EXPLAINED[text] };
    const worker = parseAddress(text.worker);
    // In any other form it was not we who wrote it.
    if (isAddressProblem(worker) || worker !== text.worker) return { where: "address", refused: EXPLAINED.address };
    if (!(await isSigned(worker, message, signature))) {
      const contracts = this.#options.contractsSign
        ? ""
        : " Wallets that are contracts cannot sign in here: this pool knows no chain to ask them on.";
      return { where: "signature", refused: `The signature is not one of ${worker} for this text.${contracts}` };
    }
    const token = Buffer.from(random(TOKEN_BYTES)).toString("base64url");
    const session = { worker, expiresAtMs: nowMs + SESSION_MS, createdAtMs: nowMs, tokenHash: hashToken(token) };
    // After the signature: who cannot sign uses nothing up.
    if (!(await store.addSession(text, session, MOST_SESSIONS))) {
      return { where: "nonce", refused: "This text was used before: ask for a new one and sign that." };
    }
    return { worker, expiresAtMs: session.expiresAtMs, token };
  }

  /** The session that a token is for, while it lasts. */
  session(token: string): Promise<Session | undefined> {
    return this.#deps.store.session(hashToken(token), this.#deps.clock.now());
  }

  /** How many browsers are signed in for a worker. */
  count(worker: WorkerAddress): Promise<number> {
    return this.#deps.store.countSessions(worker, this.#deps.clock.now());
  }

  end(token: string): Promise<void> {
    return this.#deps.store.endSession(hashToken(token));
  }

  endAll(worker: WorkerAddress): Promise<void> {
    return this.#deps.store.endSessions(worker);
  }
}
