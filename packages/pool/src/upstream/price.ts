import http from "node:http";
import { type Clock, errorText, formatHostPort, type HostPort, type Logger, type Price } from "@openpool/base";
import type { PriceSource } from "../jobs/job.ts";

/** What a job pays, and who says so. */
export interface Quote {
  readonly price: Price;
  readonly source: PriceSource;
}

/** What an orchestrator tells of itself on its CLI port. */
export interface OrchestratorStatus {
  /** Undefined: it names no price, as off-chain ones. */
  readonly price: Price | undefined;
  readonly version: string | undefined;
  /** Transcoders that are registered with it, the pool among them. */
  readonly transcoders: readonly { readonly address: string; readonly capacity: number }[];
  /** True: it transcodes by itself and takes no transcoders. */
  readonly local: boolean | undefined;
}

const MAX_ANSWER_BYTES = 1 << 20;
const READ_TIMEOUT_MS = 2_000;
const MAX_TERM = 2n ** 128n;

/** Wei per pixel as go-livepeer writes it, a whole number or a fraction (`1200`, `101/100`); undefined: it is none. */
export function parsePrice(text: unknown): Price | undefined {
  const match = typeof text === "string" ? /^(\d{1,60})(?:\/(\d{1,60}))?$/.exec(text) : null;
  if (!match) return undefined;
  const pricePerUnitWei = BigInt(match[1]!);
  const pixelsPerUnit = BigInt(match[2] ?? "1");
  if (pixelsPerUnit === 0n || pricePerUnitWei > MAX_TERM || pixelsPerUnit > MAX_TERM) return undefined;
  return { pricePerUnitWei, pixelsPerUnit };
}

function getJson(address: HostPort, path: string, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const request = http.get(
      { host: address.host, port: address.port, path, signal, agent: false, headers: { accept: "application/json" } },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("error", reject);
        response.on("data", (chunk: string) => {
          text += chunk;
          if (text.length > MAX_ANSWER_BYTES) request.destroy(new Error(`${path} answered with too much`));
        });
        response.on("end", () => {
          if (response.statusCode !== 200) return reject(new Error(`${path} was answered with ${response.statusCode}`));
          try {
            resolve(JSON.parse(text));
          } catch {
            reject(new Error(`${path} was not answered with JSON`));
          }
        });
      },
    );
    request.on("error", reject);
  });
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? (Object.getOwnPropertyDescriptor(value, name)?.value as unknown)
    : undefined;
}

/** Asks an orchestrator's CLI port (`-cliAddr`, by default 127.0.0.1:7935) about itself. Rejects when it does not answer. */
export async function readOrchestratorStatus(cli: HostPort, signal?: AbortSignal): Promise<OrchestratorStatus> {
  const timeout = AbortSignal.timeout(READ_TIMEOUT_MS);
  const status = await getJson(cli, "/status", signal ? AbortSignal.any([signal, timeout]) : timeout);
  const listed = field(status, "RegisteredTranscoders");
  const version = field(status, "Version");
  const local = field(status, "LocalTranscoding");
  return {
    price: parsePrice(field(field(status, "BroadcasterPrices"), "default")),
    version: typeof version === "string" ? version.slice(0, 64) : undefined,
    transcoders: (Array.isArray(listed) ? listed.slice(0, 10_000) : []).map((one: unknown) => ({
      address: String(field(one, "Address") ?? "").slice(0, 64),
      capacity: Number(field(one, "Capacity") ?? 0),
    })),
    local: typeof local === "boolean" ? local : undefined,
  };
}

/** Knows what the work of one orchestrator pays now. */
export interface PriceReader extends AsyncDisposable {
  readonly quote: Quote;
  /** What it last said of itself; undefined: nothing, so far. */
  readonly status: OrchestratorStatus | undefined;
  /** It was asked once, and has answered or not; never rejects. */
  readonly asked: Promise<void>;
  /** Asks again now; never rejects. */
  refresh(): Promise<void>;
}

const REFRESH_MS = 30_000;

/**
 * Reads the price from the orchestrator where its CLI port answers, else it is the configured one. A price that was read
 * once is kept while the port does not answer, over restarts too: the orchestrator still charges it.
 */
export function createPriceReader(
  options: {
    readonly name: string;
    readonly cli: HostPort | undefined;
    readonly configured: Price;
    /** What it charged when it was last asked, in this process or one before. */
    readonly last?: Price | undefined;
  },
  deps: { readonly clock: Clock; readonly logger: Logger; readonly onChange: (quote: Quote) => void },
): PriceReader {
  const { clock, logger } = deps;
  const closing = new AbortController();
  let quote: Quote =
    options.cli && options.last
      ? { price: options.last, source: "upstream" }
      : { price: options.configured, source: "configured" };
  let status: OrchestratorStatus | undefined;
  let cancel = (): void => {};
  let silent = false;

  const refresh = async (): Promise<void> => {
    if (!options.cli) return;
    try {
      status = await readOrchestratorStatus(options.cli, closing.signal);
      silent = false;
      const { price } = status;
      const before = quote.price;
      if (!price) return;
      if (
        quote.source === "upstream" &&
        price.pricePerUnitWei === before.pricePerUnitWei &&
        price.pixelsPerUnit === before.pixelsPerUnit
      ) {
        return;
      }
      quote = { price, source: "upstream" };
      deps.onChange(quote);
    } catch (error) {
      if (!silent && !closing.signal.aborted) {
        logger.info("the orchestrator's price cannot be read; the last one known, or the configured one, counts", {
          upstream: options.name,
          cli: formatHostPort(options.cli),
          error: errorText(error),
          source: quote.source,
        });
      }
      silent = true;
    }
  };
  const again = (): Promise<void> =>
    refresh().then(() => {
      if (!closing.signal.aborted) cancel = clock.after(REFRESH_MS, () => void again());
    });
  const asked = options.cli ? again() : Promise.resolve();
  return {
    get quote() {
      return quote;
    },
    get status() {
      return status;
    },
    asked,
    refresh,
    [Symbol.asyncDispose]() {
      closing.abort();
      cancel();
      return Promise.resolve();
    },
  };
}
