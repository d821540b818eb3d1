import {
  type Ability,
  announced,
  formatRig,
  isAsAble,
  misfit,
  type Need,
  needKey,
  type RigName,
} from "@openpool/protocol";
import { DecisionLog } from "./decision-log.ts";
import type { AbilityGroup, Connection, Job, Rig } from "./model.ts";
import { hasFailed } from "./opinions.ts";
import type { DispatchOptions } from "./options.ts";
import { parseReputation, Reputation } from "./reputation.ts";
import type {
  ConnectionId,
  ConnectionOffer,
  ConnectionView,
  ReputationSnapshot,
  RigMemory,
  RigView,
  Supply,
} from "./types.ts";

/** Who is there and who is remembered: rigs, their connections, and what those can do. */
export class Roster {
  readonly #options: DispatchOptions;
  readonly #rigs = new Map<string, Rig>();
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #list: Connection[] = [];
  readonly #groups = new Map<string, AbilityGroup>();
  /** The key of the need at hand. */
  #required = "";
  #openings = 0;
  /** Rigs that are connected. */
  #here = 0;

  constructor(options: DispatchOptions) {
    this.#options = options;
  }

  /** All connections, in no particular order; a list, because it is walked through for every choice. */
  get connections(): readonly Connection[] {
    return this.#list;
  }

  connection(id: ConnectionId): Connection | undefined {
    return this.#connections.get(id);
  }

  get rigs(): ReadonlyMap<string, Rig> {
    return this.#rigs;
  }

  /** Connections with a free or an idle place: while there is none, nobody who waits needs to be looked at. */
  get openings(): number {
    return this.#openings;
  }

  /** Call it when a connection's places changed. */
  recount(connection: Connection): void {
    const { uses, capacity, idle, live, finishing } = connection;
    const opening = live && !finishing && (uses.size < capacity || idle > 0);
    if (opening === connection.opening) return;
    connection.opening = opening;
    this.#openings += opening ? 1 : -1;
  }

  /** A rig by its name, remembered from now on. */
  rig(name: RigName, nowMs: number): Rig {
    const key = formatRig(name);
    const known = this.#rigs.get(key);
    if (known !== undefined) return known;
    const rig: Rig = {
      name,
      key,
      reputation: new Reputation(this.#options, nowMs),
      log: new DecisionLog(this.#options.decisionsKept),
      connections: new Set(),
      draining: false,
      ability: NOTHING,
      seenMs: nowMs,
      goneMs: undefined,
      workMs: undefined,
      trials: 0,
    };
    this.#rigs.set(key, rig);
    return rig;
  }

  /** Anybody may register under any number of names: of those that left only so many are remembered. */
  #forgetOldest(): void {
    if (this.#rigs.size - this.#here <= this.#options.rememberedRigs) return;
    for (const rig of this.#rigs.values()) {
      if (rig.connections.size > 0 || rig.draining) continue;
      this.#rigs.delete(rig.key);
      return;
    }
  }

  /** A connection begins, or offers something else from now on. */
  join(offer: ConnectionOffer, nowMs: number): void {
    const known = this.#connections.get(offer.connection);
    if (known !== undefined) {
      if (known.finishing) return;
      this.#leaveGroup(known);
      known.capacity = offer.capacity;
      known.group = this.#joinGroup(offer);
      known.rig.ability = known.group.ability;
      known.refused.clear();
      this.recount(known);
      return;
    }
    const rig = this.rig(offer.rig, nowMs);
    const connection: Connection = {
      id: offer.connection,
      rig,
      capacity: offer.capacity,
      group: this.#joinGroup(offer),
      draining: false,
      finishing: false,
      connectedMs: nowMs,
      live: true,
      uses: new Map(),
      idle: 0,
      open: 0,
      opening: false,
      heardMs: undefined,
      silentUntilMs: 0,
      silentInRow: 0,
      busyUntilMs: 0,
      refused: new Set(),
      index: this.#list.length,
    };
    this.#connections.set(offer.connection, connection);
    this.#list.push(connection);
    if (rig.connections.size === 0) this.#here++;
    rig.connections.add(connection);
    rig.ability = connection.group.ability;
    rig.seenMs = nowMs;
    rig.goneMs = undefined;
    this.recount(connection);
  }

  /** It stays until it leaves, but nobody counts on it any more. */
  finish(connection: Connection, nowMs: number): void {
    const { rig } = connection;
    connection.finishing = true;
    this.recount(connection);
    this.#leaveGroup(connection);
    // For whoever waits for somebody like it to come back.
    if ([...rig.connections].every((one) => one.finishing)) rig.goneMs = nowMs;
  }

  leave(connection: Connection, nowMs: number): void {
    const { rig } = connection;
    connection.live = false;
    this.recount(connection);
    this.#connections.delete(connection.id);
    const last = this.#list.pop();
    if (last !== undefined && last !== connection) {
      this.#list[connection.index] = last;
      last.index = connection.index;
    }
    if (!connection.finishing) this.#leaveGroup(connection);
    rig.connections.delete(connection);
    rig.seenMs = nowMs;
    if (rig.connections.size > 0) return;
    this.#here--;
    rig.goneMs ??= nowMs;
    // Least recently seen first, for the day when too many are remembered.
    this.#rigs.delete(rig.key);
    this.#rigs.set(rig.key, rig);
    this.#forgetOldest();
  }

  /** Returns the connections that it concerns. */
  setDraining(target: RigName | ConnectionId, draining: boolean, nowMs: number): Connection[] {
    if (typeof target === "string") {
      const connection = this.#connections.get(target);
      if (connection === undefined) return [];
      connection.draining = draining;
      return [connection];
    }
    const rig = this.rig(target, nowMs);
    rig.draining = draining;
    if (!draining) for (const connection of rig.connections) connection.draining = false;
    return [...rig.connections];
  }

  /** Prepares `whyUnable` for a need: one comparison for all connections that offer the same. */
  require(need: Need): void {
    this.#required = needKey(need);
    for (const group of this.#groups.values()) group.misfit = misfit(group.ability, need);
  }

  /** Why a connection cannot have what was required last, whatever else is true; undefined: it can. */
  whyUnable({ group, finishing, refused }: Connection): "unable" | "too-old" | "draining" | undefined {
    if (finishing) return "draining";
    if (group.misfit !== undefined) return group.misfit === "version" ? "too-old" : "unable";
    return refused.size > 0 && refused.has(this.#required) ? "unable" : undefined;
  }

  isAble(connection: Connection): boolean {
    return this.whyUnable(connection) === undefined;
  }

  /** Connected rigs that could do the job and have not failed it. */
  untried(job: Job): Rig[] {
    this.require(job.spec.need);
    const rigs = new Set<Rig>();
    for (const connection of this.#list) {
      if (this.isAble(connection) && !hasFailed(job, connection.rig)) rigs.add(connection.rig);
    }
    return [...rigs];
  }

  isAnyoneAble(need: Need): boolean {
    this.require(need);
    return this.#list.some((connection) => this.isAble(connection));
  }

  /** When the last rig left that could do this; undefined if none did. */
  lastLeftMs(need: Need): number | undefined {
    let lastMs: number | undefined;
    for (const { goneMs, ability } of this.#rigs.values()) {
      if (goneMs !== undefined && misfit(ability, need) === undefined) lastMs = Math.max(lastMs ?? goneMs, goneMs);
    }
    return lastMs;
  }

  /** Whether one more session could have a place. Rigs that would only be used in need do not count. */
  hasRoom(need: Need, nowMs: number): boolean {
    this.require(need);
    let barredRoom = false;
    let others = false;
    for (const connection of this.#list) {
      if (!this.isAble(connection) || isDraining(connection)) continue;
      const barred = isBarred(connection);
      others ||= !barred;
      if (connection.uses.size >= connection.capacity) continue;
      // Late once is slow; late twice without a word in between is probably hung.
      if (connection.silentInRow > 0 && connection.silentUntilMs > nowMs) continue;
      if (!barred) return true;
      barredRoom = true;
    }
    return barredRoom && !others;
  }

  /** Places that are held. */
  load(): number {
    return this.#list.reduce((sum, connection) => sum + connection.uses.size, 0);
  }

  /** Places on connections that are not draining. */
  capacity(): number {
    return this.#list.reduce((sum, connection) => sum + (isDraining(connection) ? 0 : connection.capacity), 0);
  }

  /**
   * Each ability that is there. Barred rigs count for whoever comes only where no better one can do what they can, as far as
   * others are told; and nobody counts for more than what it did speaks for: anybody may claim any number of places.
   */
  promise(): Supply[] {
    const good = new Set<AbilityGroup>();
    for (const connection of this.#list) {
      if (!isDraining(connection) && !isBarred(connection)) good.add(connection.group);
    }
    const isMatched = (group: AbilityGroup): boolean =>
      [...good].some((one) => isAsAble(one.announced, group.announced));
    const places = new Map<AbilityGroup, { capacity: number; staying: number; trusted: number; isMatched?: boolean }>();
    for (const connection of this.#list) {
      const { group, finishing, rig } = connection;
      if (finishing) continue;
      const isProven = rig.reputation.accepted >= this.#options.newUntilResults;
      const capacity = isProven ? connection.capacity : Math.min(connection.capacity, UNPROVEN_PLACES);
      let sum = places.get(group);
      if (sum === undefined) places.set(group, (sum = { capacity: 0, staying: 0, trusted: 0 }));
      let open = capacity;
      if (isDraining(connection)) {
        open = 0;
      } else if (isBarred(connection)) {
        sum.isMatched ??= isMatched(group);
        open = sum.isMatched ? 0 : Math.min(capacity, BARRED_PLACES);
      }
      sum.capacity += open;
      sum.staying += capacity - open;
      if (rig.reputation.standing === "trusted") sum.trusted += capacity;
    }
    return Array.from(places, ([{ ability }, { capacity, staying, trusted }]) => {
      return { ...ability, capacity, staying, trusted };
    });
  }

  /** What was learnt about rigs. */
  export(nowMs: number): ReputationSnapshot {
    const rigs = [...this.#rigs.values()]
      .filter((rig) => rig.reputation.accepted + rig.reputation.failed + rig.reputation.lied > 0)
      .map((rig) => rig.reputation.export(rig.key, rig.connections.size > 0 ? nowMs : rig.seenMs, nowMs));
    return { v: 1, rigs };
  }

  /** Takes over what was exported `awayMs` ago; returns what was new. Rigs that are known already keep theirs. */
  import(snapshot: unknown, nowMs: number, awayMs: number): readonly RigMemory[] {
    return parseReputation(snapshot).filter((memory) => {
      const dot = memory.rig.indexOf(".");
      if (dot < 0 || this.#rigs.has(memory.rig)) return false;
      // The snapshot is our own: its addresses were checked when the rigs registered.
      const name = { worker: memory.rig.slice(0, dot) as RigName["worker"], rig: memory.rig.slice(dot + 1) };
      const rig = this.rig(name, nowMs);
      rig.seenMs = nowMs - awayMs - memory.seenAgoMs;
      rig.reputation.import(memory, nowMs, awayMs);
      this.#forgetOldest();
      return true;
    });
  }

  /** Union of what connected rigs can do, draining ones too: they serve what nobody else can. */
  reach(): bigint {
    let union = 0n;
    for (const { ability } of this.#groups.values()) union |= ability.capabilities;
    return union;
  }

  /** Union of what connected rigs that are not draining can do. */
  capabilities(): bigint {
    let union = 0n;
    let last: AbilityGroup | undefined;
    for (const connection of this.#list) {
      if (connection.group === last || isDraining(connection)) continue;
      last = connection.group;
      union |= last.ability.capabilities;
    }
    return union;
  }

  #joinGroup({ capabilities, version }: Ability): AbilityGroup {
    const key = `${capabilities.toString(36)} ${version}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      const ability = { capabilities, version };
      group = { key, ability, announced: announced(ability), connections: 0, misfit: undefined };
      this.#groups.set(key, group);
    }
    group.connections++;
    return group;
  }

  #leaveGroup({ group }: Connection): void {
    group.connections--;
    if (group.connections === 0) this.#groups.delete(group.key);
  }
}

/** Places that a rig without enough good results is promised with: as many as a machine with eight cards has. */
const UNPROVEN_PLACES = 256;
/** Places that a barred rig is promised with where nobody else can do what it can. */
const BARRED_PLACES = 2;
/** Of a rig that only memory knows. */
const NOTHING: Ability = { capabilities: 0n, version: "" };

export function isDraining(connection: Connection): boolean {
  return connection.draining || connection.finishing || connection.rig.draining;
}

function isBarred({ rig }: Connection): boolean {
  return rig.reputation.standing === "barred";
}

export function isAvoided(connection: Connection, nowMs: number): boolean {
  return connection.silentUntilMs > nowMs || connection.busyUntilMs > nowMs;
}

/** A rig as pages show it. */
export function viewOf(rig: Rig, nowMs: number): RigView {
  const { reputation } = rig;
  const decided = rig.log.lastHour(nowMs);
  const connections = Array.from(rig.connections, (connection): ConnectionView => {
    return {
      connection: connection.id,
      capacity: connection.capacity,
      sessions: connection.uses.size,
      inFlight: connection.open,
      draining: isDraining(connection),
      avoided: isAvoided(connection, nowMs),
      connectedMs: connection.connectedMs,
      lastHeardMs: connection.heardMs,
    };
  });
  const sum = (of: (connection: ConnectionView) => number): number =>
    connections.reduce((total, c) => total + of(c), 0);
  const draining = connections.every((connection) => connection.draining);
  return {
    rig: rig.name,
    state: connections.length === 0 ? "gone" : draining ? "draining" : "connected",
    connections,
    capacity: sum((connection) => connection.capacity),
    sessions: sum((connection) => connection.sessions),
    inFlight: sum((connection) => connection.inFlight),
    draining: rig.draining,
    standing: reputation.standing,
    reason: reputation.reason,
    standingSinceMs: reputation.sinceMs,
    success: reputation.health,
    accepted: reputation.accepted,
    failed: reputation.failed,
    claimsDiffered: reputation.differed,
    claimsLied: reputation.lied,
    chosenLastHour: decided.chosen,
    passedOverLastHour: decided.passedOver,
    speeds: Array.from(reputation.times.entries(), ([kind, times]) => {
      return { kind, realTimeRatio: times.mean > 0 ? 1 / times.mean : 0, results: times.count };
    }),
    lastSeenMs: rig.seenMs,
    lastWorkMs: rig.workMs,
  };
}
