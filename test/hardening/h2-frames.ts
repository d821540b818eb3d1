/** HTTP/2 written by hand, for what no library would send. */
import { type HostPort, connectTls, type TlsConnection } from "../peers/wire.ts";

export const FrameType = {
  data: 0,
  headers: 1,
  rst: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;
export const Flag = { none: 0, endStream: 1, ack: 1, endHeaders: 4 } as const;

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block without compression: every field literal, never indexed. */
export function headerBlock(headers: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.from([0x10]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const length: number[] = [];
  if (bytes.length < 127) length.push(bytes.length);
  else {
    length.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

export const request = (method: string, path: string, more: readonly (readonly [string, string])[] = []): Buffer =>
  headerBlock([[":method", method], [":scheme", "https"], [":authority", "pool"], [":path", path], ...more]);

export interface RawH2 {
  readonly socket: TlsConnection;
  /** Writes as much as the other end takes; false once it has closed. */
  write(bytes: Uint8Array): Promise<boolean>;
  /** The code of the GOAWAY that came, or `closed` when the connection ended first. */
  readonly ended: Promise<number | "closed">;
  readonly closed: boolean;
}

/** Opens a connection and says hello; SETTINGS and PINGs of the other end are not answered. */
export async function openRawH2(address: HostPort, settings: Uint8Array = Buffer.alloc(0)): Promise<RawH2> {
  const socket = await connectTls(address, ["h2"]);
  let closed = false;
  let goaway: number | undefined;
  let received = Buffer.alloc(0);
  let wake = (): void => {};
  const ended = new Promise<number | "closed">((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 9) {
        const length = received.readUIntBE(0, 3);
        if (received.length < 9 + length) break;
        if (received[3] === FrameType.goaway) {
          goaway ??= received.readUInt32BE(13);
          resolve(goaway);
        }
        received = received.subarray(9 + length);
      }
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      closed = true;
      wake();
      resolve("closed");
    });
  });
  socket.on("drain", () => wake());
  const raw: RawH2 = {
    socket,
    ended,
    get closed() {
      return closed;
    },
    async write(bytes) {
      if (closed) return false;
      if (!socket.write(bytes)) await new Promise<void>((resolve) => (wake = resolve));
      return !closed;
    },
  };
  await raw.write(
    Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(FrameType.settings, 0, 0, settings)]),
  );
  return raw;
}
