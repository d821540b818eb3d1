import type http2 from "node:http2";
import { release } from "node:os";
import { type Clock, createBackoff, errorText, type Logger } from "@openpool/base";
import { RESULT_AUTHORIZATION, RIG_REPORT_PATH, type RigReport } from "@openpool/protocol";
import type { Capacity } from "../devices/capacity.ts";
import type { Detection } from "../devices/detect.ts";
import type { Device } from "../devices/device.ts";

/** What operators and FFmpeg name things, in the characters that a report takes. */
const token = (text: string, most: number): string => text.replaceAll(/[^\w.:/+~-]/g, "-").slice(0, most);

/** What the pool is told about this machine: what it is, what its tests proved and what was measured; no names, no addresses. */
export function makeRigReport(
  version: string,
  detection: Detection,
  stations: readonly { readonly device: Device; readonly capacity: Capacity | undefined }[],
): RigReport {
  return {
    v: 1,
    software: {
      worker: version.slice(0, 64),
      ffmpeg: detection.ffmpeg.version.slice(0, 64),
      system: `${process.platform} ${process.arch} ${release()}`.slice(0, 64),
    },
    devices: stations.slice(0, 64).map(({ device, capacity }) => ({
      id: token(device.id, 80),
      kind: device.kind,
      model: device.model.slice(0, 120),
      driver: device.driver === undefined ? null : token(device.driver, 40),
      memoryMib: device.memoryMib ?? null,
      encoders: [...device.proved.encoders],
      decoders: [...device.proved.decoders],
      sessions: capacity?.sessions ?? null,
      realTimeFactor: capacity?.realTimeFactor ?? null,
    })),
    tests: detection.findings
      .flatMap(({ tests }) => tests)
      .slice(0, 256)
      .map((test) => ({
        ...test,
        device: token(test.device, 80),
        subject: test.subject === null ? null : token(test.subject, 80),
      })),
  };
}

const TRIES = 6;
const ANSWER_MS = 10_000;

/** Its status, or why there was none. */
function post(session: http2.ClientHttp2Session, secret: string, body: Buffer, clock: Clock): Promise<number | string> {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": RIG_REPORT_PATH,
      authorization: RESULT_AUTHORIZATION,
      credentials: secret,
      "content-type": "application/json",
      "content-length": body.length,
      "user-agent": "openpool-worker",
    });
    const forget = clock.after(ANSWER_MS, () => stream.close(8));
    let status = 0;
    let why = "no answer";
    stream.on("response", (headers) => (status = Number(headers[":status"])));
    stream.on("error", (error) => (why = errorText(error)));
    stream.once("close", () => {
      forget();
      resolve(status === 0 ? why : status);
    });
    stream.resume();
    stream.end(body);
  });
}

/**
 * Tells the pool about this machine, over the connection that the registration is on. It never rejects and nothing waits
 * for it: a stock orchestrator or an older pool answers that it knows no such path, and that is that.
 */
export async function sendRigReport(
  session: http2.ClientHttp2Session,
  secret: string,
  report: RigReport,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): Promise<void> {
  const body = Buffer.from(JSON.stringify(report));
  const backoff = createBackoff({ initialMs: 500, factor: 3, maxMs: 60_000, jitter: 0.3 });
  for (let attempt = 1; attempt <= TRIES && !session.destroyed && !session.closed; attempt++) {
    const answer = await post(session, secret, body, clock);
    if (answer === 204) return logger.debug("told the pool about this machine");
    // What is wrong with the report will still be wrong; anything else may be over in a moment.
    const final = typeof answer === "number" && answer < 500 && answer !== 409 && answer !== 429;
    if (final) return logger.debug("this pool does not take reports about machines", { status: answer });
    logger.debug("the pool was not told about this machine, trying again", { answer });
    await new Promise<void>((resolve) => {
      const forget = clock.after(backoff.next(), resolve);
      session.once("close", () => {
        forget();
        resolve();
      });
    });
  }
}
