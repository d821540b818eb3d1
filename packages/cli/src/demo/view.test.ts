import { expect, test } from "vitest";
import { openScreen } from "./screen.ts";
import { type DemoState, payoutLines, summaryText, viewLines } from "./view.ts";

const state: DemoState = {
  upMs: 83_000,
  phase: undefined,
  streams: 2,
  done: 41,
  lost: 0,
  wrong: 0,
  latenciesMs: [500, 510, 520, 900],
  renditions: [{ name: "P240p30fps16x9", width: 426, height: 240, made: 41 }],
  workers: [
    {
      name: "0x1111111111111111111111111111111111111111.rig1",
      state: "working",
      sessions: 1,
      capacity: 2,
      jobsInFlight: 1,
      segments: 21,
      creditedWei: 1_500_000_000_000_000_000n,
    },
    {
      name: "0x2222222222222222222222222222222222222222.rig2",
      state: "killed",
      sessions: 0,
      capacity: 0,
      jobsInFlight: 0,
      segments: 20,
      creditedWei: 1n,
    },
  ],
  serviceUri: "https://127.0.0.1:41234",
  pagesUrl: "http://127.0.0.1:8936",
  adminUrl: "http://127.0.0.1:7945",
  dataDir: "/tmp/openpool-demo",
  keepsData: false,
  notes: Array.from({ length: 40 }, (_, i) => ({ time: "12:00:00", text: `note ${i}` })),
};

// oxlint-disable-next-line no-control-regex -- colours begin with the escape character
const plain = (line: string): string => line.replaceAll(/\u001b\[[0-9;]*m/g, "");

test("the view says all that matters: segments, latency, renditions, earnings, data, addresses, keys", () => {
  const text = viewLines(state, { columns: 120, rows: 40 }).map(plain).join("\n");
  for (const part of [
    "41 done, 0 lost",
    "p50 510 ms   p99 900 ms",
    "41 × P240p30fps16x9 426×240",
    /0x1111…1111\.rig1 +1\/2 +21 +1\.5 +● transcoding/,
    /0x2222…2222\.rig2 +- +20 +0\.000000000000000001 +killed/,
    "/tmp/openpool-demo",
    "https://127.0.0.1:41234",
    "http://127.0.0.1:8936",
    "http://127.0.0.1:7945",
    "note 39",
    "k kill a worker",
  ]) {
    expect(text).toMatch(part);
  }
});

test.each([
  [120, 40],
  [60, 24],
  [20, 10],
  [3, 3],
])("the view fits a terminal of %d × %d", (columns, rows) => {
  const lines = viewLines(state, { columns, rows });
  expect(lines.length).toBeLessThan(rows);
  for (const line of lines) expect([...plain(line)].length).toBeLessThan(columns);
});

test("what was paid is told with its intent, its transaction, and what everybody had before and after", () => {
  const hash = `0x${"c0ffee".repeat(10)}beef`;
  const payouts = {
    chainUrl: "http://127.0.0.1:8545",
    payer: "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F",
    payerWei: 99_999_999_950_000_000_000_000n,
    waitingFor: undefined,
    last: {
      id: "0197-run",
      state: "done",
      totalWei: 138_240_000_000n,
      intents: [{ nonce: 3, hash, state: "final" }],
      workers: [
        { worker: "0x1111111111111111111111111111111111111111", beforeWei: 0n, afterWei: 82_944_000_000n },
        { worker: "0x2222222222222222222222222222222222222222", beforeWei: 1n, afterWei: 55_296_000_001n },
      ],
    },
  };
  const told = [
    "payouts     by 0x9d8A…5A4F (99999.99995 ETH) on the local chain http://127.0.0.1:8545",
    "  run 0197-run: 0.00000013824 ETH to 2 workers, done",
    `  nonce 3  ${hash}  final`,
    "  0x1111…1111  0 ETH before, 0.000000082944 ETH after",
    "  0x2222…2222  0.000000000000000001 ETH before, 0.000000055296000001 ETH after",
  ];
  expect(payoutLines(payouts)).toEqual(told);
  const view = viewLines({ ...state, payouts }, { columns: 120, rows: 44 }).map(plain);
  expect(view).toEqual(expect.arrayContaining(told.map((line) => `  ${line}`)));
  // Before it is mined, and while it waits.
  const waits = { ...payouts, last: undefined, waitingFor: "gas costs 3 gwei, the limit is 2" };
  expect(payoutLines(waits).at(-1)).toBe("  gas costs 3 gwei, the limit is 2");
});

test("a small terminal leaves out what was paid and where things lie, never the keys and what just happened", () => {
  const intent = { nonce: 0, hash: `0x${"a".repeat(64)}`, state: "final" };
  const paid = { worker: "0x1111111111111111111111111111111111111111", beforeWei: 0n, afterWei: 1n };
  const payouts = {
    chainUrl: "http://127.0.0.1:8545",
    payer: "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F",
    payerWei: 1n,
    waitingFor: undefined,
    last: { id: "run", state: "done", totalWei: 1n, intents: [intent], workers: [paid, paid] },
  };
  for (const rows of [40, 24, 18]) {
    const lines = viewLines({ ...state, payouts }, { columns: 80, rows }).map(plain);
    expect(lines.at(-1)).toMatch(/k kill a worker.*q end$/);
    expect(lines.filter((line) => line.includes(" note ")).length).toBeGreaterThanOrEqual(3);
    expect(lines.length).toBeLessThan(rows);
    expect(lines.some((line) => line.includes("data and logs"))).toBe(rows > 18);
  }
});

test("the summary names what was lost and what everybody earned", () => {
  const text = summaryText({ ...state, lost: 2 });
  expect(text).toContain("41 segments done, 2 lost, 0 wrong, in 1 min 23 s");
  expect(text).toMatch(/0x1111…1111\.rig1 +21 segments +1\.5 ETH\n/);
});

test("drawing writes only what changed, and gives the terminal back", () => {
  let written = "";
  const listeners = new Set<() => void>();
  const screen = openScreen({
    write: (text) => (written += text),
    on: (_event, listener) => listeners.add(listener),
    off: (_event, listener) => listeners.delete(listener),
  });
  const take = (): string => {
    const text = written;
    written = "";
    return text;
  };
  expect(take()).toContain("\u001b[?1049h");
  screen.draw(["one", "two"]);
  expect(take()).toContain("one");
  screen.draw(["one", "TWO"]);
  const second = take();
  expect(second).toContain("TWO");
  expect(second).not.toContain("one");
  screen.draw(["one", "TWO"]);
  expect(take()).toBe("");
  for (const resized of listeners) resized();
  expect(take()).toContain("one");
  screen[Symbol.dispose]();
  expect(take()).toContain("\u001b[?1049l");
  expect(listeners.size).toBe(0);
});
