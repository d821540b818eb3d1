import type { Attempt, Connection, Session, Use } from "./model.ts";
import { isDraining, type Roster } from "./roster.ts";
import type { Effect } from "./types.ts";

interface PlacesDeps {
  readonly roster: Roster;
  readonly tell: (effect: Effect) => void;
}

/**
 * Sessions, and the places that they hold on connections: at the one that a session is bound to, and wherever an attempt
 * of it is open. A place stays with its session when nothing is open there; whoever else needs it may take it then.
 */
export class Places {
  readonly #deps: PlacesDeps;
  readonly #sessions = new Map<string, Session>();

  constructor(deps: PlacesDeps) {
    this.#deps = deps;
  }

  get sessions(): ReadonlyMap<string, Session> {
    return this.#sessions;
  }

  /** A session by its key, made if there is none. */
  session(key: string): Session {
    let session = this.#sessions.get(key);
    if (session === undefined) {
      session = {
        key,
        jobs: new Set(),
        waiting: [],
        bound: undefined,
        home: undefined,
        ended: false,
        idle: undefined,
        queued: undefined,
        lateInRow: 0,
        slowInRow: 0,
      };
      this.#sessions.set(key, session);
    }
    return session;
  }

  /** The session is over: it gives up its place and is forgotten. */
  close(session: Session): void {
    const use = session.bound?.uses.get(session);
    if (use !== undefined) this.drop(use);
    this.#sessions.delete(session.key);
  }

  /** A place for one more attempt of the session, on top of what it has there; the caller found out that there is one. */
  take(session: Session, connection: Connection): Use {
    let use = connection.uses.get(session);
    if (use === undefined) {
      use = { session, connection, open: [], bound: false, lastEndMs: 0 };
      connection.uses.set(session, use);
    } else if (use.open.length === 0) {
      connection.idle--;
    }
    return use;
  }

  /** An attempt stands in a place that was taken for it. */
  enter(attempt: Attempt): void {
    attempt.use.open.push(attempt);
    attempt.connection.open++;
    this.#deps.roster.recount(attempt.connection);
  }

  /** An attempt leaves its place; returns the one behind it, if that is its connection's turn now. */
  leave(attempt: Attempt, nowMs: number): Attempt | undefined {
    const { use, connection } = attempt;
    const at = use.open.indexOf(attempt);
    use.open.splice(at, 1);
    use.lastEndMs = nowMs;
    connection.open--;
    const head = use.open[0];
    if (head !== undefined) return at === 0 ? head : undefined;
    connection.idle++;
    if (!use.bound || isDraining(connection)) this.drop(use);
    else this.#deps.roster.recount(connection);
    return undefined;
  }

  /** The session's jobs go there from now on. */
  bind(session: Session, connection: Connection): void {
    const before = session.bound;
    if (before === connection) return;
    session.bound = connection;
    session.home = undefined;
    session.lateInRow = 0;
    session.slowInRow = 0;
    const use = connection.uses.get(session);
    if (use !== undefined) use.bound = true;
    const old = before?.uses.get(session);
    if (old === undefined) return;
    old.bound = false;
    if (old.open.length === 0) this.drop(old);
  }

  /** Takes an idle session's place away; call it only where one is idle. The longest unused one loses it. */
  steal(connection: Connection): void {
    let victim: Use | undefined;
    for (const use of connection.uses.values()) {
      if (use.open.length === 0 && (victim === undefined || use.lastEndMs < victim.lastEndMs)) victim = use;
    }
    if (victim !== undefined) this.drop(victim);
  }

  /** Takes all places away that stand empty on a connection. */
  clearIdle(connection: Connection): void {
    for (const use of connection.uses.values()) if (use.open.length === 0) this.drop(use);
  }

  /** The connection is gone, and all places on it; returns the attempts that were open there. */
  vacate(connection: Connection): Attempt[] {
    const open: Attempt[] = [];
    for (const use of connection.uses.values()) {
      const { session } = use;
      if (session.bound === connection) {
        session.bound = undefined;
        session.home = connection.rig;
      }
      open.push(...use.open.splice(0));
    }
    connection.uses.clear();
    connection.idle = 0;
    connection.open = 0;
    return open;
  }

  /** The use must be idle. */
  drop(use: Use): void {
    const { session, connection } = use;
    if (!connection.uses.delete(session)) return;
    connection.idle--;
    this.#deps.roster.recount(connection);
    use.bound = false;
    if (session.bound === connection) session.bound = undefined;
    if (!connection.live || connection.finishing) return;
    this.#deps.tell({ kind: "unbind", session: session.key, connection: connection.id });
  }
}

/** The session's own place stands empty: taking it deprives nobody. */
export function ownPlaceIsIdle(session: Session): boolean {
  return session.bound?.uses.get(session)?.open.length === 0;
}
