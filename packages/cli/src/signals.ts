import process from "node:process";

/**
 * A terminal and npm both send the same Ctrl-C, some milliseconds apart: what comes this soon is no second request.
 */
const ECHO_MS = 500;

/** How often a program below npm looks whether npm is still there. */
const PARENT_CHECK_MS = 500;

export interface Signals {
  readonly stop: AbortSignal;
  readonly kill: AbortSignal;
  onHangup(callback: () => void): void;
  forget(): void;
}

/**
 * Watches for the wish to end. The first SIGINT, SIGTERM or SIGHUP aborts `stop`; a second one aborts `kill` and ends the
 * process at once, with the exit code that shells expect. The end of the process that started this one over an IPC
 * channel counts as SIGTERM, so that its children never outlive a killed parent. So does, with `belowNpm`, a change of
 * parent: npm and npx put a shell in between, which dies of the SIGTERM that was meant for us and passes nothing on.
 */
export function watchSignals(exit: (code: number) => void, belowNpm = false): Signals {
  const controller = new AbortController();
  const killer = new AbortController();
  let hangup: (() => void) | undefined;
  let firstAt: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (signal === "SIGHUP" && hangup && firstAt === undefined) return hangup();
    const now = performance.now();
    if (firstAt === undefined) {
      firstAt = now;
      controller.abort(signal);
    } else if (now - firstAt > ECHO_MS) {
      killer.abort(signal);
      exit(signal === "SIGINT" ? 130 : signal === "SIGHUP" ? 129 : 143);
    }
  };
  const onDisconnect = (): void => {
    if (firstAt === undefined) onSignal("SIGTERM");
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  process.once("disconnect", onDisconnect);
  // It can be gone before we were here to listen.
  if (process.connected === false) onDisconnect();
  const parent = process.ppid;
  const parentCheck = belowNpm
    ? setInterval(() => {
        if (process.ppid === parent) return;
        clearInterval(parentCheck);
        onDisconnect();
      }, PARENT_CHECK_MS).unref()
    : undefined;
  return {
    stop: controller.signal,
    kill: killer.signal,
    onHangup(callback) {
      hangup = callback;
    },
    forget() {
      for (const signal of signals) process.off(signal, onSignal);
      process.off("disconnect", onDisconnect);
      clearInterval(parentCheck);
    },
  };
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
