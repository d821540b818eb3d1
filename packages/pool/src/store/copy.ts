import type { Client, Connection } from "pg";

/** COPY over the driver's own connection: rows as PostgreSQL writes and reads them, never all of them in memory. */

/** What the driver calls while one of its queries runs; its types know only its own queries. */
interface Submitted {
  submit(connection: Connection): void;
  handleCopyData(message: { readonly chunk: Buffer }, connection: CopyConnection): void;
  handleCopyInResponse(connection: CopyConnection): void;
  handleError(error: Error): void;
  handleReadyForQuery(): void;
  handleRowDescription(): void;
  handleDataRow(): void;
  handlePortalSuspended(): void;
  handleCommandComplete(): void;
  handleEmptyQuery(): void;
}

interface CopyConnection extends Connection {
  readonly stream: NonNullable<Connection["stream"]>;
  sendCopyFromChunk(chunk: Uint8Array): void;
  endCopyFrom(): void;
  sendCopyFail(message: string): void;
}

/** A row is a small message: rows are handed on in pieces of this size. */
const PIECE_BYTES = 256 * 1024;

function submit(
  client: Client,
  sql: string,
  handlers: Pick<Submitted, "handleCopyData" | "handleCopyInResponse">,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const nothing = (): void => {};
    const query: Submitted = {
      submit: (connection) => void connection.query(sql),
      handleError: reject,
      handleReadyForQuery: resolve,
      handleRowDescription: nothing,
      handleDataRow: nothing,
      handlePortalSuspended: nothing,
      handleCommandComplete: nothing,
      handleEmptyQuery: nothing,
      ...handlers,
    };
    client.query(query as unknown as Parameters<Client["query"]>[0]);
  });
}

/**
 * Runs `copy … to stdout` and hands what comes to `sink`, a piece at a time; reads no faster than that takes it. What a
 * piece is made of is reused once its promise settles.
 */
export async function copyOut(client: Client, sql: string, sink: (piece: Uint8Array) => Promise<void>): Promise<void> {
  let buffer = Buffer.allocUnsafe(PIECE_BYTES);
  let used = 0;
  let failed: unknown;
  let sinking = Promise.resolve();
  const flush = (): Promise<void> => {
    const piece = buffer.subarray(0, used);
    buffer = Buffer.allocUnsafe(PIECE_BYTES);
    used = 0;
    sinking = sinking
      .then(() => (failed === undefined ? sink(piece) : undefined))
      .catch((error: unknown) => void (failed ??= error));
    return sinking;
  };
  await submit(client, sql, {
    // The driver uses the memory of a message again for the next one.
    handleCopyData({ chunk }, { stream }) {
      if (used + chunk.length > buffer.length) {
        stream.pause();
        void flush().then(() => stream.resume());
        if (chunk.length > buffer.length) buffer = Buffer.allocUnsafe(chunk.length);
      }
      used += chunk.copy(buffer, used);
    },
    handleCopyInResponse: (connection) => connection.sendCopyFail("this is a copy to stdout"),
  });
  await flush();
  if (failed !== undefined) throw failed;
}

/** Runs `copy … from stdin` with the pieces that come; sends no faster than the server takes them. */
export async function copyIn(client: Client, sql: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  let failed: unknown;
  let sending: Promise<void> | undefined;
  const send = async (connection: CopyConnection): Promise<void> => {
    try {
      for await (const piece of pieces) {
        // Piece by piece through the driver, which says nothing of being full: its socket does.
        connection.sendCopyFromChunk(piece);
        if (connection.stream.writableNeedDrain) {
          await new Promise<void>((resolve) => {
            const go = (): void => {
              connection.stream.off("drain", go).off("close", go);
              resolve();
            };
            connection.stream.on("drain", go).on("close", go);
          });
        }
      }
      connection.endCopyFrom();
    } catch (error) {
      failed = error;
      connection.sendCopyFail("the source failed");
    }
  };
  try {
    await submit(client, sql, {
      handleCopyData: () => {},
      handleCopyInResponse: (connection) => void (sending = send(connection)),
    });
    await sending;
  } catch (error) {
    throw failed ?? error;
  }
}
