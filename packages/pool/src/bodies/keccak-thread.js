// The thread that hashes: see keccak.ts. Plain JavaScript, because Node starts it from the sources as well as from what
// was built of them.
// @ts-check
// A message to another thread has no origin:
/* oxlint-disable unicorn/require-post-message-target-origin */
import { parentPort, workerData } from "node:worker_threads";

/** @typedef {{ stream: number, slot: number, state: number, data: number, blocks: number, last: boolean }} Step */

const { module, memory, layout } = workerData;
// Neither ECMAScript's nor Node's type library declares WebAssembly.
const { one, two } = new /** @type {any} */ (globalThis).WebAssembly.Instance(module, { e: { m: memory } }).exports;
const control = new Int32Array(memory.buffer, layout.controlAt, layout.controlWords);
const { SUBMITTED, STARVING, OPEN, RING, BUSY, RING_WORDS } = layout;

/** Steps in the order in which they were given. @type {Step[]} */
const steps = [];
let taken = 0;

/** @param {Step} step @param {number} blocks */
function advance(step, blocks) {
  step.data += blocks * layout.blockBytes;
  step.blocks -= blocks;
  if (step.blocks > 0) return;
  steps.splice(steps.indexOf(step), 1);
  Atomics.store(control, BUSY + step.slot, 0);
  if (step.last) parentPort?.postMessage(step.stream);
  else if (Atomics.exchange(control, STARVING, 0) === 1) parentPort?.postMessage(-1);
}

for (;;) {
  const submitted = Atomics.load(control, SUBMITTED);
  for (; taken !== submitted; taken = (taken + 1) | 0) {
    const at = RING + ((taken >>> 0) % layout.slots) * RING_WORDS;
    const stream = control[at] ?? 0;
    const slot = control[at + 1] ?? 0;
    steps.push({
      stream,
      slot,
      state: layout.statesAt + stream * layout.stateBytes,
      data: layout.dataAt + slot * layout.slotBytes,
      blocks: control[at + 2] ?? 0,
      last: control[at + 3] === 1,
    });
  }
  const [first] = steps;
  if (!first) {
    Atomics.wait(control, SUBMITTED, submitted);
    continue;
  }
  // Two messages cost little more than one.
  const second = steps.find((step) => step.stream !== first.stream);
  if (second) {
    const blocks = Math.min(first.blocks, second.blocks);
    two(first.state, second.state, first.data, second.data, blocks);
    advance(first, blocks);
    advance(second, blocks);
  } else if (!steps.at(-1)?.last && steps.length < layout.patience && Atomics.load(control, OPEN) > 1) {
    // All steps are of one message, and nobody waits for its digest yet: a partner may come.
    Atomics.wait(control, SUBMITTED, submitted);
  } else {
    one(first.state, first.data, first.blocks);
    advance(first, first.blocks);
  }
}
