import type { Clock, Logger } from "@openpool/base";
import { GrpcStatus, INVALID_VIDEO, RIG_REPORT_PATH, segmentText } from "@openpool/protocol";
import { answerNotFound, sendBytes } from "./front/download.ts";
import { answerText, type Exchange, exchangeOfRequest } from "./front/exchange.ts";
import type { FrontHandlers } from "./front/front.ts";
import { endGrpc } from "./front/grpc.ts";
import type { GatewayDoor } from "./gateway/door.ts";
import type { Renditions } from "./gateway/renditions.ts";
import { generationOf } from "./jobs/attempt-id.ts";
import { relayExchange, type RelayPort } from "./supervisor/relay.ts";
import type { Spool } from "./supervisor/spool.ts";
import type { WorkersDoor } from "./workers/door.ts";

export interface RoutesDeps {
  readonly generation: number;
  /** False: the pool only works for orchestrators. */
  readonly servesGateways: boolean;
  readonly gateways: GatewayDoor;
  readonly workers: WorkersDoor;
  readonly renditions: Renditions;
  readonly relay: RelayPort | undefined;
  readonly spool: Spool | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Whether this process hands over or ends, and until when (monotonic ms) it takes segments at its end. */
  readonly leaving: () => { readonly draining: boolean; readonly ending: boolean; readonly lastCallUntilMs: number };
}

/** To a gateway that came to a pool which works for orchestrators only. */
const NO_GATEWAYS = "this pool serves no gateways";

/** Who answers what comes on the public port: a door of this process, or another process of the pool. */
export function createRoutes(deps: RoutesDeps): FrontHandlers {
  const { generation, servesGateways, gateways, workers, renditions, relay, spool, logger, clock } = deps;

  const failed = (what: string, error: unknown): void => {
    logger.error(`${what} failed`, {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  };
  /** A fault of ours: whoever asked must not wait for an answer that nobody makes, nor a gateway lose its session. */
  const broken = (exchange: Exchange) => (error: unknown) => {
    failed("a request", error);
    if (exchange.started) exchange.abort();
    else answerText(exchange, 500, exchange.path === "/segment" ? INVALID_VIDEO : segmentText.internal);
  };
  /** Hands on a request that belongs to another process of this pool; `gone`: there is none such. */
  const handOn = async (toGeneration: number | undefined, exchange: Exchange): Promise<"answered" | "gone" | "busy"> =>
    !relay || toGeneration === undefined || toGeneration === generation
      ? "gone"
      : relayExchange(relay, toGeneration, exchange);
  /** Answers a request that nobody but another process of this pool can answer. False: that one is gone. */
  const answeredThere = async (toGeneration: number, exchange: Exchange): Promise<boolean> => {
    const outcome = await handOn(toGeneration, exchange);
    // It lives: nothing that is found here stands in for its answer.
    if (outcome === "busy") answerText(exchange, 503, "the pool is busy");
    return outcome !== "gone";
  };
  /** `local`: it was relayed here, and what is not found here is not found at all. */
  const route = async (exchange: Exchange, local: boolean): Promise<void> => {
    const path = exchange.path.split("?", 1)[0]!;
    if (path === "/segment") {
      if (!servesGateways) return answerText(exchange, 404, NO_GATEWAYS);
      const { draining, ending, lastCallUntilMs } = deps.leaving();
      const successor = draining && !local ? relay?.successor : undefined;
      if ((await handOn(successor, exchange)) === "answered") return;
      if (ending && clock.monotonicMs() > lastCallUntilMs) return gateways.refuseLast(exchange);
      return gateways.segment(exchange);
    }
    if (path === "/transcodeResults") {
      const task = exchange.header("taskid") ?? "";
      if (!local && /^\d{1,19}$/.test(task) && (await answeredThere(generationOf(BigInt(task)), exchange))) return;
      return workers.takeResult(exchange);
    }
    if (path === RIG_REPORT_PATH && exchange.method === "POST") return workers.takeReport(exchange);
    if (path.startsWith("/stream/")) {
      const [, of, source] = /^\/stream\/(\d{1,4})\/(?:source\/([\w-]{22})\.ts$)?/.exec(path) ?? [];
      const owner = of === undefined ? generation : Number(of);
      if (owner !== generation && !local) {
        if (await answeredThere(owner, exchange)) return;
        const kept = await spool?.find(owner, path);
        return kept ? sendBytes(exchange, kept.data, kept.contentType) : answerNotFound(exchange);
      }
      if (source !== undefined) return workers.serveSource(source, exchange);
      if (!renditions.serve(path, exchange)) answerNotFound(exchange);
      return;
    }
    if (path === "/healthz") return exchange.answer(200, {}, "");
    answerText(exchange, 404, "404 page not found");
  };
  relay?.serve((request, response, peer) => {
    const exchange = exchangeOfRequest(request, response, peer);
    route(exchange, true).catch(broken(exchange));
  });
  return {
    grpc(stream, path, peer, authority) {
      const call = async (): Promise<void> => {
        if (path.startsWith("/net.Orchestrator/") && !servesGateways) {
          return endGrpc(stream, GrpcStatus.UNIMPLEMENTED, NO_GATEWAYS);
        }
        switch (path) {
          case "/net.Orchestrator/GetOrchestrator":
            return gateways.getOrchestrator(stream);
          case "/net.Orchestrator/EndTranscodingSession":
            return gateways.endTranscodingSession(stream);
          case "/net.Orchestrator/Ping":
            return gateways.ping(stream);
          case "/net.Transcoder/RegisterTranscoder":
            return workers.register(stream, peer, authority);
          default:
            return endGrpc(stream, GrpcStatus.UNIMPLEMENTED, `unknown service or method ${path.slice(0, 200)}`);
        }
      };
      call().catch((error: unknown) => {
        failed("a gRPC call", error);
        endGrpc(stream, GrpcStatus.INTERNAL, segmentText.internal);
      });
    },
    http: (exchange) => void route(exchange, false).catch(broken(exchange)),
  };
}
