import { type Clock, type Logger } from "@openpool/base";
import { type Profile, SESSION_IDLE_MS } from "@openpool/protocol";

/** Segments that may wait behind the running one of their session, as in a stock node. */
const QUEUE_PER_SESSION = 4;
/** A device that failed this often in a row gets no new session for a while. */
const FAILURES_TO_REST = 3;
const REST_MS = 60_000;

/** What a session costs a device, in pixels a second. */
export function loadOf(profiles: readonly Profile[]): number {
  return profiles.reduce((sum, p) => sum + p.width * p.height * (p.fps > 0 ? p.fps / p.fpsDen : 30), 0);
}

export interface Slot<Device> {
  readonly device: Device;
  /** Aborted when the session is ended, or everything is. */
  readonly signal: AbortSignal;
  /** Resolves when the segments before it are done. */
  readonly turn: Promise<void>;
  leave(): void;
}

interface Session<Device> {
  readonly device: Device;
  load: number;
  controller: AbortController;
  tail: Promise<void>;
  inside: number;
  idleSinceMs: number;
}

export interface Sessions<Device> {
  /**
   * Queues a segment behind the others of its session; `busy` when too many wait there. `anew`: nothing is kept of the
   * session, and its device is chosen again, unless another segment of it is inside.
   */
  enter(session: string, load: number, anew?: boolean): Slot<Device> | "busy";
  /**
   * How a segment went on its device. After a failure its session may begin anew elsewhere; a device that fails again
   * and again rests while there are others.
   */
  report(session: string, device: Device, ok: boolean): void;
  /** Stops the session's work at once and forgets it. */
  end(session: string): boolean;
  /** Stops everything. */
  stop(): void;
  /** Sessions that are remembered now: at work, or idle for less than 70 s. */
  readonly size: number;
  /** Segments that run or wait now. */
  readonly inside: number;
  /** Load of each device, in pixels a second. */
  loads(): ReadonlyMap<Device, number>;
}

/**
 * Which device serves which session: when it begins the one that it fills least, measured by what each takes, and the
 * same one ever after.
 */
export function createSessions<Device>(
  devices: readonly [Device, ...Device[]],
  options: {
    /** Sessions at work at once; a pool that gives more is told `busy`. */
    readonly maxAtWork: number;
    /** How much a device takes, compared with the others: one of 20 gets five times as much as one of 4. */
    readonly capacityOf: (device: Device) => number;
    readonly onEnd: (session: string, device: Device) => void;
  },
  deps: { readonly clock: Clock; readonly logger: Logger },
): Sessions<Device> {
  const { clock, logger } = deps;
  const sessions = new Map<string, Session<Device>>();
  const health = new Map<Device, { failures: number; restsUntilMs: number }>();
  let rotate = 0;

  const loads = (): Map<Device, number> => {
    const sums = new Map<Device, number>(devices.map((device) => [device, 0]));
    for (const { device, load } of sessions.values()) sums.set(device, (sums.get(device) ?? 0) + load);
    return sums;
  };
  const leastFilled = (load: number): Device => {
    const sums = loads();
    const filled = (device: Device): number => ((sums.get(device) ?? 0) + load) / options.capacityOf(device);
    const now = clock.monotonicMs();
    const fit = devices.filter((device) => (health.get(device)?.restsUntilMs ?? 0) <= now);
    const choice = fit.length > 0 ? fit : devices;
    // Equal devices take turns.
    const start = rotate++;
    let best = choice[start % choice.length] ?? devices[0];
    for (let i = 1; i < choice.length; i++) {
      const device = choice[(start + i) % choice.length] ?? devices[0];
      if (filled(device) < filled(best)) best = device;
    }
    return best;
  };
  const forget = (id: string, session: Session<Device>): void => {
    sessions.delete(id);
    options.onEnd(id, session.device);
  };
  const sweep = (): void => {
    const now = clock.monotonicMs();
    for (const [id, session] of sessions) {
      if (session.inside === 0 && now - session.idleSinceMs >= SESSION_IDLE_MS) {
        logger.debug("session idle, forgotten", { session: id });
        forget(id, session);
      }
    }
  };

  return {
    enter(id, load, anew = false) {
      sweep();
      let session = sessions.get(id);
      if (anew && session?.inside === 0) {
        logger.debug("session begins anew", { session: id });
        forget(id, session);
        session = undefined;
      }
      if (!session?.inside) {
        let atWork = 0;
        for (const { inside } of sessions.values()) if (inside > 0) atWork++;
        if (atWork >= options.maxAtWork) return "busy";
      }
      if (!session) {
        session = {
          device: leastFilled(load),
          load,
          controller: new AbortController(),
          tail: Promise.resolve(),
          inside: 0,
          idleSinceMs: 0,
        };
        sessions.set(id, session);
      }
      if (session.inside > QUEUE_PER_SESSION) return "busy";
      const entered = session;
      entered.load = load;
      entered.inside++;
      const turn = entered.tail;
      let finish = (): void => {};
      entered.tail = new Promise((resolve) => (finish = resolve));
      let left = false;
      return {
        device: entered.device,
        signal: entered.controller.signal,
        turn,
        leave() {
          if (left) return;
          left = true;
          entered.inside--;
          entered.idleSinceMs = clock.monotonicMs();
          // A segment that gives up while it waits must not let the next one overtake the one that runs.
          void turn.then(() => finish());
        },
      };
    },
    report(id, device, ok) {
      if (ok) return void health.delete(device);
      const failures = (health.get(device)?.failures ?? 0) + 1;
      const rests = failures >= FAILURES_TO_REST && devices.length > 1;
      health.set(device, { failures, restsUntilMs: rests ? clock.monotonicMs() + REST_MS : 0 });
      if (rests)
        logger.warn("a device fails again and again: its sessions go elsewhere", { failures, restMs: REST_MS });
      const session = sessions.get(id);
      // Those that wait behind it keep their place; the next segment after them chooses again.
      if (session?.device === device && session.inside <= 1 && devices.length > 1) forget(id, session);
    },
    end(id) {
      const session = sessions.get(id);
      if (!session) return false;
      session.controller.abort();
      forget(id, session);
      return true;
    },
    stop() {
      for (const [id, session] of sessions) {
        session.controller.abort();
        forget(id, session);
      }
    },
    get size() {
      return sessions.size;
    },
    get inside() {
      let sum = 0;
      for (const session of sessions.values()) sum += session.inside;
      return sum;
    },
    loads,
  };
}
