import type http2 from "node:http2";
import { toBinary } from "@bufbuild/protobuf";
import type { Clock, Logger } from "@openpool/base";
import { errorText } from "@openpool/base";
import { encodeGrpcFrame, type NotifySegment, NotifySegmentSchema, type RigName } from "@openpool/protocol";
import type { ConnectionId, ConnectionOffer } from "../dispatch/types.ts";
import { endGrpc } from "../front/grpc.ts";

/** One open registration. */
export interface Connection extends ConnectionOffer {
  readonly secretHash: string;
  readonly peer: string;
  /** Host and port that the worker dialled: where it can surely reach us again. */
  readonly authority: string;
  readonly version: string;
  readonly connectedAt: number;
  /** Queues a message to the worker; false when its stream is gone. */
  notify(message: NotifySegment): boolean;
  /** Ends the registration so that the worker comes back by itself. */
  end(why: string): void;
  /** A task was sent on it: it can no longer be moved without a visible reconnect. */
  readonly used: boolean;
}

/** A silent dead peer is noticed after one missed answer to this. */
const PING_MS = 15_000;
const PONG_WITHIN_MS = 10_000;

/** Secrets that are remembered, those of rigs that left included. */
const MAX_IDENTITIES = 50_000;

/** All open registrations, and who holds them. */
export class Connections {
  readonly #byId = new Map<ConnectionId, Connection>();
  readonly #identities = new Map<string, RigName>();
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

  ofRig(name: RigName): Connection[] {
    return this.all().filter((one) => one.rig.worker === name.worker && one.rig.rig === name.rig);
  }

  /** The rig that registered with a secret, also for a while after it left: results come on other connections. */
  identityOf(secretHash: string): RigName | undefined {
    return this.#identities.get(secretHash);
  }

  /** Opens a registration on a gRPC stream; `onGone` is called once, when it ended for whatever reason. */
  open(
    stream: http2.ServerHttp2Stream,
    offer: Omit<ConnectionOffer, "connection"> & Pick<Connection, "secretHash" | "peer" | "authority" | "version">,
    onGone: (connection: Connection, why: string) => void,
  ): Connection {
    const id = `c${++this.#next}` as ConnectionId;
    let gone = false;
    let used = false;
    let stopPinging = (): void => {};
    const leave = (why: string): void => {
      if (gone) return;
      gone = true;
      stopPinging();
      this.#byId.delete(id);
      onGone(connection, why);
    };
    const connection: Connection = {
      ...offer,
      connection: id,
      connectedAt: this.#clock.now(),
      get used() {
        return used;
      },
      notify(message) {
        if (gone || stream.destroyed) return false;
        used = true;
        stream.write(encodeGrpcFrame(toBinary(NotifySegmentSchema, message)));
        return true;
      },
      end(why) {
        endGrpc(stream, 14, why);
        leave(why);
      },
    };
    stream.once("close", () => leave("its stream ended"));
    stream.session?.once("close", () => leave("its connection ended"));
    const ping = (): void => {
      const session = stream.session;
      if (gone || !session || session.destroyed) return;
      const cancel = this.#clock.after(PONG_WITHIN_MS, () => {
        this.#logger.info("worker does not answer pings", {
          rig: `${offer.rig.worker}.${offer.rig.rig}`,
          peer: offer.peer,
        });
        session.destroy();
        leave("it did not answer a ping");
      });
      try {
        session.ping(() => {
          cancel();
          if (!gone) stopPinging = this.#clock.after(PING_MS, ping);
        });
      } catch (error) {
        cancel();
        leave(errorText(error));
      }
    };
    stopPinging = this.#clock.after(PING_MS, ping);
    this.#byId.set(id, connection);
    // The most recent last; made-up names cannot fill the memory.
    this.#identities.delete(offer.secretHash);
    this.#identities.set(offer.secretHash, offer.rig);
    if (this.#identities.size > MAX_IDENTITIES) this.#identities.delete(this.#identities.keys().next().value!);
    return connection;
  }
}
