import http2 from "node:http2";
import { toBinary } from "@bufbuild/protobuf";
import type { Clock, Logger } from "@openpool/base";
import { addressGroup, errorText } from "@openpool/base";
import {
  encodeGrpcFrame,
  formatRig,
  GrpcStatus,
  type NotifySegment,
  NotifySegmentSchema,
  type RigName,
} from "@openpool/protocol";
import type { ConnectionId, ConnectionOffer } from "../dispatch/types.ts";
import { endGrpc, refuseGrpcStream } from "../front/grpc.ts";
import { SecretHolders } from "./secret-holders.ts";

/** One open registration. */
export interface Connection extends ConnectionOffer {
  readonly secretHash: string;
  readonly peer: string;
  /** Host and port that the worker dialled: where it can surely reach us again. */
  readonly authority: string;
  readonly connectedAt: number;
  /** Queues a message to the worker; false when its stream is gone. */
  notify(message: NotifySegment): boolean;
  /** Ends the registration so that the worker comes back by itself. */
  end(why: string): void;
  /**
   * Lets the worker go to the process that takes over, once its connection was told to go away. As long as nothing was
   * sent on the registration, a stock worker does not even notice, and its way back gets no longer.
   */
  handOver(why: string): void;
  /** The worker takes no more tasks and finishes what it has; it is still there. */
  readonly finishing: boolean;
}

/** A silent dead peer is noticed after one missed answer to this. */
const PING_MS = 15_000;
const PONG_WITHIN_MS = 10_000;
/** Tasks that a worker has not read; each is under a kilobyte. */
const MAX_UNREAD_BYTES = 1 << 20;
/** A large site behind one address is welcome; beyond this somebody counts up names. */
const MAX_REGISTRATIONS_PER_PEER = 5_000;
const MAX_REGISTRATIONS = 50_000;

/** All open registrations, and who holds them. */
export class Connections {
  readonly #byId = new Map<ConnectionId, Connection>();
  readonly #byRig = new Map<string, Set<Connection>>();
  /** By address group. */
  readonly #perPeer = new Map<string, number>();
  /** What is told when a connection does not answer pings, by connection. */
  readonly #watched = new WeakMap<http2.Http2Session, Set<(why: string) => void>>();
  readonly holders = new SecretHolders();
  readonly #logger: Logger;
  readonly #clock: Clock;
  #next = 0;

  constructor(deps: { logger: Logger; clock: Clock }) {
    this.#logger = deps.logger;
    this.#clock = deps.clock;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: ConnectionId): Connection | undefined {
    return this.#byId.get(id);
  }

  /** A copy: connections may end while it is walked through. */
  all(): readonly Connection[] {
    return [...this.#byId.values()];
  }

  ofRig(name: RigName): readonly Connection[] {
    return [...(this.#byRig.get(formatRig(name)) ?? [])];
  }

  /** Whether a registration of the rig is open. */
  hasRig(name: RigName): boolean {
    return this.#byRig.has(formatRig(name));
  }

  /** Whether one more registration from an address is welcome. */
  hasRoomFor(peer: string): boolean {
    return (
      this.#byId.size < MAX_REGISTRATIONS && (this.#perPeer.get(addressGroup(peer)) ?? 0) < MAX_REGISTRATIONS_PER_PEER
    );
  }

  /**
   * Opens a registration on a gRPC stream; `onGone` is called once, when it ended for whatever reason. Before that
   * `onFinishing` may be: the worker has cancelled the stream and left its connection open, as ours do when they drain.
   */
  open(
    stream: http2.ServerHttp2Stream,
    offer: Omit<ConnectionOffer, "connection"> & Pick<Connection, "secretHash" | "peer" | "authority">,
    events: { onFinishing(connection: Connection): void; onGone(connection: Connection, why: string): void },
  ): Connection {
    const id = `c${++this.#next}` as ConnectionId;
    const { session } = stream;
    let gone = false;
    let finishing = false;
    let used = false;
    const rig = formatRig(offer.rig);
    const group = addressGroup(offer.peer);
    const leave = (why: string): void => {
      if (gone) return;
      gone = true;
      unwatch();
      this.#byId.delete(id);
      const ofRig = this.#byRig.get(rig);
      ofRig?.delete(connection);
      if (ofRig?.size === 0) this.#byRig.delete(rig);
      this.holders.left(offer.secretHash, offer.rig);
      const left = (this.#perPeer.get(group) ?? 1) - 1;
      if (left > 0) this.#perPeer.set(group, left);
      else this.#perPeer.delete(group);
      events.onGone(connection, why);
    };
    const connection: Connection = {
      ...offer,
      connection: id,
      connectedAt: this.#clock.now(),
      notify(message) {
        if (gone || finishing || stream.destroyed) return false;
        if (stream.writableLength > MAX_UNREAD_BYTES) {
          // Later: who tells it something is in the middle of deciding.
          queueMicrotask(() => connection.end("it does not read what it is told"));
          return false;
        }
        used = true;
        stream.write(encodeGrpcFrame(toBinary(NotifySegmentSchema, message)));
        return true;
      },
      end(why) {
        endGrpc(stream, GrpcStatus.UNAVAILABLE, why);
        leave(why);
      },
      handOver(why) {
        if (used) return connection.end(why);
        refuseGrpcStream(stream);
        leave(why);
      },
      get finishing() {
        return finishing;
      },
    };
    stream.once("close", () => {
      if (gone) return;
      const alive = session && !session.closed && !session.destroyed;
      // The streams of a connection that is cut end like this too, and before it: so it is told by the connection.
      if (stream.rstCode !== http2.constants.NGHTTP2_CANCEL || !alive) return leave("its stream ended");
      finishing = true;
      events.onFinishing(connection);
    });
    const unwatch = this.#watch(session, leave);
    this.#byId.set(id, connection);
    const ofRig = this.#byRig.get(rig);
    if (ofRig) ofRig.add(connection);
    else this.#byRig.set(rig, new Set([connection]));
    this.#perPeer.set(group, (this.#perPeer.get(group) ?? 0) + 1);
    this.holders.registered(offer.secretHash, offer.rig);
    return connection;
  }

  /** Pings a connection for as long as a registration is on it; returns how one of them leaves. */
  #watch(session: http2.Http2Session | undefined, leave: (why: string) => void): () => void {
    if (!session) return () => {};
    const known = this.#watched.get(session);
    if (known) {
      known.add(leave);
      return () => known.delete(leave);
    }
    const leaves = new Set([leave]);
    this.#watched.set(session, leaves);
    let cancel = (): void => {};
    const dead = (why: string): void => {
      cancel();
      if (leaves.size > 0) this.#logger.debug("a connection of workers is dead", { why, registrations: leaves.size });
      for (const one of leaves) one(why);
    };
    session.once("close", () => dead("its connection ended"));
    const ping = (): void => {
      if (session.destroyed) return;
      if (leaves.size === 0) return void this.#watched.delete(session);
      cancel = this.#clock.after(PONG_WITHIN_MS, () => {
        dead("it did not answer a ping");
        session.destroy();
      });
      try {
        session.ping(() => {
          cancel();
          if (!session.destroyed) cancel = this.#clock.after(PING_MS, ping);
        });
      } catch (error) {
        dead(errorText(error));
      }
    };
    cancel = this.#clock.after(PING_MS, ping);
    return () => leaves.delete(leave);
  }
}
