import { type ChildProcess, spawn } from "node:child_process";
import { type Clock, errorText, type Logger } from "@openpool/base";
import type { DoorSetting, FromChild, StartMessage, ToChild } from "./messages.ts";

/** What a child is started with, besides its orders. */
export interface PoolProcessOptions {
  /** The file that the child runs. */
  readonly entry: string;
  readonly execArgv: readonly string[];
  readonly publicFd: number;
  readonly adminFd: number;
  /** Undefined: no public API. */
  readonly apiFd: number | undefined;
  /** How long until it serves; then it is killed. */
  readonly startTimeoutMs: number;
  /** A child whose event loop stands still this long is killed: it serves nobody and holds everybody. */
  readonly hangTimeoutMs: number;
}

export type StartOutcome =
  | { readonly kind: "ready" }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      /** The setting whose address it could not listen on. */
      readonly setting: DoorSetting | undefined;
    };

export interface ExitReport {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** It was told to drain, or to die. */
  readonly expected: boolean;
}

/** How many pings in a row may go unanswered. */
const PINGS = 10;
/** Between the end of a drain and the end of its process: closing the database, the sockets. */
const DRAIN_GRACE_MS = 3_000;
/**
 * How V8 manages the memory of a process through which much passes and little stays. Network buffers count as growth of a
 * small heap, and without the first it collects all the time: a fifth of the CPU of a segment. Without the second, 35 MB of
 * the young generation stay resident for nothing.
 */
const HEAP_FLAGS = ["--heap-growing-percent=400", "--max-semi-space-size=4"];
/** Last words arrive within this time after the end, if there are any. */
const LAST_WORDS_MS = 500;

/**
 * One child of the supervisor:
 *
 *     starting ──► ready ──► draining ──► gone
 *         └──────────┴───────────────────► gone     (it failed, died, hung, or was killed)
 */
export class PoolProcess {
  readonly generation: number;
  /** Resolves once: it serves, or it will not. */
  readonly started: Promise<StartOutcome>;
  readonly exited: Promise<ExitReport>;
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #state: "starting" | "ready" | "draining" | "gone" = "starting";
  #expected = false;
  #missedPings = 0;
  readonly #cancels: (() => void)[] = [];
  #cancelPing = (): void => {};

  constructor(
    options: PoolProcessOptions,
    start: StartMessage,
    deps: { readonly logger: Logger; readonly clock: Clock },
  ) {
    this.generation = start.generation;
    this.#clock = deps.clock;
    this.#logger = deps.logger.child({ generation: start.generation });
    const child = spawn(process.execPath, [...HEAP_FLAGS, ...options.execArgv, options.entry], {
      // The order that `messages.ts` promises the child.
      stdio: [
        "ignore",
        "inherit",
        "inherit",
        "ipc",
        options.publicFd,
        options.adminFd,
        ...(options.apiFd === undefined ? [] : [options.apiFd]),
      ],
      // Options hold bigints, log fields may hold errors.
      serialization: "advanced",
    });
    this.#child = child;
    let failure: StartOutcome & { kind: "failed" } = {
      kind: "failed",
      code: "supervisor/child-died",
      message: "The new process ended before it served; its last words are in the log.",
      setting: undefined,
    };
    let onStarted: (outcome: StartOutcome) => void;
    this.started = new Promise((resolve) => (onStarted = resolve));
    this.exited = new Promise((resolve) => {
      const gone = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#state = "gone";
        for (const cancel of [...this.#cancels, this.#cancelPing]) cancel();
        onStarted(failure);
        resolve({ code, signal, expected: this.#expected });
      };
      child.once("error", (error) => {
        // It could not be spawned. After that, errors are those of a channel whose other end has just gone.
        if (child.pid !== undefined) return;
        failure = { ...failure, message: `The new process could not be started: ${errorText(error)}` };
        gone(null, null);
      });
      child.once("exit", (code, signal) => {
        // Its last words may still be in the channel.
        if (!child.connected) return gone(code, signal);
        const cancel = this.#clock.after(LAST_WORDS_MS, () => gone(code, signal));
        child.once("disconnect", () => {
          cancel();
          gone(code, signal);
        });
      });
    });
    child.on("error", () => {});
    child.on("message", (message) => {
      // Our own code at the other end, or a newer version of it, which then speaks the same language.
      const said = message as FromChild;
      switch (said.kind) {
        case "ready":
          if (this.#state === "starting") this.#state = "ready";
          cancelStart();
          return onStarted({ kind: "ready" });
        case "failed":
          failure = { kind: "failed", code: said.code, message: said.message, setting: said.setting };
          this.#cancels.push(this.#clock.after(DRAIN_GRACE_MS, () => this.kill()));
          if (this.#state !== "starting") this.#logger.error("a process of the pool failed", { error: said.message });
          return;
        case "pong":
          this.#missedPings = 0;
          return;
        case "log":
          return this.#logger[said.level](said.message, said.fields);
      }
    });
    const cancelStart = this.#clock.after(options.startTimeoutMs, () => {
      failure = { ...failure, message: `The new process did not serve within ${options.startTimeoutMs / 1000} s.` };
      this.kill();
    });
    this.#cancels.push(cancelStart);
    this.#watch(options.hangTimeoutMs);
    this.#send(start);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get state(): "starting" | "ready" | "draining" | "gone" {
    return this.#state;
  }

  /** Orders it to finish what it holds and exit, within `limitMs`; after that, and some grace, it is killed. */
  drain(successor: number | undefined, limitMs: number): void {
    if (this.#state === "gone") return;
    if (this.#state === "starting") return this.kill();
    this.#state = "draining";
    this.#expected = true;
    this.#send({ kind: "drain", successor, limitMs });
    this.#cancels.push(
      this.#clock.after(limitMs + DRAIN_GRACE_MS, () => {
        this.#logger.warn("a process did not end in time and is killed");
        this.kill();
      }),
    );
  }

  /** Tells a draining child who takes its requests now. */
  succeededBy(generation: number): void {
    if (this.#state === "draining") this.#send({ kind: "successor", generation });
  }

  kill(): void {
    this.#expected = true;
    this.#child.kill("SIGKILL");
  }

  #send(message: ToChild): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Counts unanswered pings instead of time: a machine that slept, or we ourselves, must not look like a hung child. */
  #watch(hangTimeoutMs: number): void {
    const ping = (): void => {
      if (this.#state !== "starting" && ++this.#missedPings > PINGS) {
        this.#logger.error("a process of the pool hangs and is killed", { hangTimeoutMs });
        this.#child.kill("SIGKILL");
        return;
      }
      if (this.#state !== "starting") this.#send({ kind: "ping" });
      this.#cancelPing = this.#clock.after(hangTimeoutMs / PINGS, ping);
    };
    this.#cancelPing = this.#clock.after(hangTimeoutMs / PINGS, ping);
  }
}
