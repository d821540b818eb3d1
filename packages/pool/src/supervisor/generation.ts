import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { errorCode } from "@openpool/base";

/** Task ids have 12 bits for the generation, and 0 stays free. */
const GENERATIONS = 4095;

/** The generation that follows, 1 to 4095. */
export function generationAfter(generation: number): number {
  return (generation % GENERATIONS) + 1;
}

/** Whether `a` was started after `b`. They come round again, so only for those that can live at the same time. */
export function isNewer(a: number, b: number): boolean {
  const ahead = (a - b + GENERATIONS) % GENERATIONS;
  return ahead !== 0 && ahead < GENERATIONS / 2;
}

/**
 * Takes the next generation of a data directory. Recorded before it is used, so that paths and task ids of an earlier
 * life never mean something in a later one.
 */
export async function nextGeneration(dataDir: string): Promise<number> {
  const file = join(dataDir, "generation");
  let last = 0;
  try {
    const text = (await readFile(file, "utf8")).trim();
    // Anything else than a number was not written by us; starting over is harmless, the rest of an id is random.
    if (/^\d{1,4}$/.test(text)) last = Number(text) % (GENERATIONS + 1);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  }
  const next = generationAfter(last);
  const draft = await open(`${file}.new`, "w", 0o600);
  try {
    await draft.writeFile(`${next}\n`);
    await draft.sync();
  } finally {
    await draft.close();
  }
  await rename(`${file}.new`, file);
  return next;
}
