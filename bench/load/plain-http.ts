import tls from "node:tls";
import type { HostPort } from "../../test/peers/wire.ts";

/** What became of a download, compared with the bytes that were expected. */
export type Fetched = "right" | "wrong" | "broken";

export interface PlainHttp extends Disposable {
  /** GETs a path over HTTP/1.1, without ALPN, and compares what comes with `wanted`. */
  fetch(path: string, wanted: Buffer): Promise<Fetched>;
}

const BUFFER_BYTES = 256 << 10;
const HEAD_END = Buffer.from("\r\n\r\n");

/**
 * An HTTP/1.1 client that does as little as it can, because it shares the machine with what it measures: one reused buffer
 * a connection, bytes compared as they arrive and never kept.
 */
export function openPlainHttp(address: HostPort, timeoutMs = 8_000): PlainHttp {
  const idle: Connection[] = [];
  const all = new Set<Connection>();

  const open = (): Connection => {
    const connection = new Connection(address, (free) => {
      if (free) idle.push(connection);
      else all.delete(connection);
    });
    all.add(connection);
    return connection;
  };

  return {
    fetch: (path, wanted) => (idle.pop() ?? open()).fetch(path, wanted, timeoutMs),
    [Symbol.dispose]() {
      for (const connection of all) connection.close();
    },
  };
}

class Connection {
  readonly #socket: tls.TLSSocket;
  readonly #host: string;
  readonly #done: (free: boolean) => void;
  #head: Buffer = Buffer.alloc(0);
  /** Where in the wanted bytes the next ones belong; negative while the head is being read. */
  #at = -1;
  #wanted: Buffer = this.#head;
  #right = true;
  #finish: ((fetched: Fetched) => void) | undefined;

  constructor(address: HostPort, done: (free: boolean) => void) {
    this.#host = `${address.host}:${address.port}`;
    this.#done = done;
    const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    this.#socket = tls.connect({
      ...address,
      rejectUnauthorized: false,
      // Typed for plain sockets only, and passed on to the one below.
      ...({ onread: { buffer, callback: (bytes: number) => this.#read(buffer.subarray(0, bytes)) } } as object),
    });
    this.#socket.setNoDelay(true);
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => {
      this.#done(false);
      this.#end("broken");
    });
  }

  fetch(path: string, wanted: Buffer, timeoutMs: number): Promise<Fetched> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#socket.destroy(), timeoutMs);
      this.#finish = (fetched) => {
        clearTimeout(timer);
        resolve(fetched);
      };
      this.#wanted = wanted;
      this.#at = -1;
      this.#right = true;
      this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: ${this.#host}\r\nUser-Agent: Go-http-client/1.1\r\n\r\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #end(fetched: Fetched): void {
    const finish = this.#finish;
    this.#finish = undefined;
    finish?.(fetched);
  }

  #read(bytes: Buffer): boolean {
    if (this.#at < 0) {
      this.#head = Buffer.concat([this.#head, bytes]);
      const end = this.#head.indexOf(HEAD_END);
      if (end < 0) return true;
      const head = this.#head.subarray(0, end).toString("latin1");
      const rest = this.#head.subarray(end + HEAD_END.length);
      this.#head = Buffer.alloc(0);
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1]);
      if (!head.startsWith("HTTP/1.1 200 ") || length !== this.#wanted.length) {
        this.#right = false;
        this.#socket.destroy();
        this.#end(head.startsWith("HTTP/1.1 200 ") ? "wrong" : "broken");
        return true;
      }
      this.#at = 0;
      return this.#read(rest);
    }
    this.#right &&= this.#wanted.compare(bytes, 0, bytes.length, this.#at, this.#at + bytes.length) === 0;
    this.#at += bytes.length;
    if (this.#at >= this.#wanted.length) {
      this.#done(true);
      this.#end(this.#right ? "right" : "wrong");
    }
    return true;
  }
}
