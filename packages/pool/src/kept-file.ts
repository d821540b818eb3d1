import { readFile } from "node:fs/promises";
import { errorCode, errorText, PoolError } from "@openpool/base";

/**
 * Reads a file that the pool made once and must find again; undefined when it was never made. One that is there and cannot
 * be read is not replaced by a new one: that would end sessions, or show gateways another certificate.
 *
 * @throws PoolError `supervisor/unreadable-file`
 */
export async function readKeptFile(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (cause) {
    if (errorCode(cause) === "ENOENT") return undefined;
    throw new PoolError(
      { code: "supervisor/unreadable-file", file },
      `cannot read ${file}: ${errorText(cause)}. Give the pool's user read access; take the file away only if it is lost.`,
      { cause },
    );
  }
}
