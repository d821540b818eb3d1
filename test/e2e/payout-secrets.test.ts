import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { startLocalChain } from "@openpool/pool";
import { expect, test } from "vitest";
import { encryptKeystore } from "../../packages/pool/src/chain/keystore.ts";
import { parseKey, signerOfKey } from "../../packages/pool/src/chain/signer.ts";
import { findCluster } from "../../packages/pool/src/store/postgres-cluster.ts";
import { until } from "./pool.ts";
import { bin, startProgram } from "./program.ts";

const KEY = "5e0c7a31d94b86f2c1a07be35d62f81947ab3ce0985f1d26b47083ea5c9d2f61";
const PASSWORD = "a horse, a battery and 4711 staples";
const WORKER = `0x${"8".repeat(39)}1`;

/** The secrets in every form in which something could write them. */
const bytes = Buffer.from(KEY, "hex");
const needles: ReadonlyMap<string, Buffer> = new Map([
  ["the key in hex", Buffer.from(KEY)],
  ["the key in capital hex", Buffer.from(KEY.toUpperCase())],
  ["the bytes of the key", bytes],
  ["the key in base64", Buffer.from(bytes.toString("base64").slice(0, 40))],
  ["the key as a number", Buffer.from(String(BigInt(`0x${KEY}`)))],
  ["the bytes of the key as a list", Buffer.from([...bytes.subarray(0, 8)].join(","))],
  ["the password", Buffer.from(PASSWORD)],
  ["the password in hex", Buffer.from(Buffer.from(PASSWORD).toString("hex"))],
]);

function secretsIn(where: string, what: Buffer | string): readonly string[] {
  const all = Buffer.from(what);
  return [...needles].flatMap(([name, needle]) => (all.includes(needle) ? [`${name} is in ${where}`] : []));
}

/** Runs a command to its end, whatever that is; what it printed. */
function command(args: readonly string[], dataDir: string): Promise<{ readonly code: number; readonly text: string }> {
  const env = { ...process.env, NODE_OPTIONS: "", OPENPOOL_DATA_DIR: dataDir };
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], { env, timeout: 120_000 }, (error, out, err) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, text: `${out}${err}` }),
    );
  });
}

test("neither key nor password of the paying account is in a log, an answer, an error, a dump of the heap or a byte of the data directory", async () => {
  const dir = await mkdtemp(join(tmpdir(), "openpool-secrets-"));
  const [secrets, dataDir, dumps] = [join(dir, "secrets"), join(dir, "data"), join(dir, "dumps")];
  const chain = await startLocalChain();
  try {
    await mkdir(secrets);
    await mkdir(dataDir);
    await mkdir(dumps);
    const file = (name: string): string => join(secrets, name);
    const { address } = signerOfKey(parseKey(KEY));
    await chain.request("anvil_setBalance", [address, `0x${(10n ** 18n).toString(16)}`]);
    const keystore = await encryptKeystore(bytes, PASSWORD, { address, n: 1024 });
    await writeFile(file("keystore"), keystore);
    await writeFile(file("password"), `${PASSWORD}\n`);
    await writeFile(file("wrong-password"), `${PASSWORD}!\n`);
    await writeFile(file("key"), `${KEY}\n`);
    const onChain = ["--rpc-url", chain.url, "--chain-id", String(chain.chainId), "--payout-finality", "1"];
    const withKeystore = (name: string, password: string): readonly string[] => [
      ...onChain,
      "--payout-keystore",
      file(name),
      "--payout-password-file",
      file(password),
      "--payout-method",
      "transfers",
      "--minimum-payout",
      "0",
      "--log-level",
      "debug",
    ];
    const found: string[] = [];
    {
      await using program = await startProgram({
        dataDir,
        flags: withKeystore("keystore", "password"),
        nodeOptions: `--heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${dumps}`,
      });
      const operate = async (...args: readonly string[]): Promise<string> => {
        const { text } = await command(args, dataDir);
        found.push(...secretsIn(`openpool ${args.join(" ")}`, text));
        return text;
      };
      await operate("ledger", "adjust", "--worker", WORKER, "--wei=5000", "--reason", "for the test");
      const run = JSON.parse(await operate("payouts", "run", "--json")) as { readonly run?: { readonly id: string } };
      // What it does last is cut off, and begun again by another process.
      const pid = await program.pid();
      process.kill(pid, "SIGKILL");
      await until(async () => (await program.pid().catch(() => pid)) !== pid, 120_000);
      const answer = async (): Promise<string> =>
        JSON.stringify(await program.admin(`/payouts/${run.run?.id}`).catch((error: unknown) => String(error)));
      await until(async () => (await answer()).includes('"state":"done"'), 120_000);
      found.push(...secretsIn("an answer of the admin port", await answer()));
      for (const args of [
        ["list", "--json"],
        ["export", run.run?.id ?? "", "--format", "json"],
        ["retry", WORKER],
      ]) {
        await operate("payouts", ...args);
      }
      await operate("backup", join(dataDir, "books.backup"));
      found.push(...secretsIn("the log", program.log()));
      // All that its memory holds, as somebody would get it who has it dumped.
      process.kill(await program.pid(), "SIGUSR2");
      const dump = async (): Promise<string | undefined> =>
        (await readdir(dumps)).find((one) => one.endsWith("snapshot"));
      await until(async () => (await dump()) !== undefined, 120_000);
      // It does nothing else until it is written.
      await until(
        () =>
          program.admin("/healthz").then(
            () => true,
            () => false,
          ),
        120_000,
      );
      const memory = await readFile(join(dumps, (await dump()) ?? ""));
      expect(memory.includes(address)).toBe(true);
      found.push(...secretsIn("a dump of the heap", memory));
      expect(program.log()).toContain(address);
    }
    const start = ["pool", "--data-dir", dataDir, "--listen", "127.0.0.1:0", "--service-uri", "https://127.0.0.1:1"];
    for (const [flags, why] of [
      [withKeystore("keystore", "wrong-password"), "payout/wrong-password"],
      [withKeystore("key", "password"), "payout/bad-keystore"],
      [[...onChain, "--payout-key-file", file("password")], "payout/bad-key"],
      [["--rpc-url", chain.url, "--payout-key-file", file("key")], "local chains only"],
    ] as const) {
      const { code, text } = await command([...start, ...flags], dataDir);
      expect([code === 0, text]).toEqual([false, expect.stringContaining(why)]);
      found.push(...secretsIn(`what it says of ${why}`, text));
    }
    // Where the database cannot lie in the data directory, it lies elsewhere.
    const cluster = await findCluster(dataDir);
    let files = 0;
    for (const place of new Set([dataDir, cluster ?? ""])) {
      for (const one of await readdir(place, { recursive: true, withFileTypes: true })) {
        if (!one.isFile()) continue;
        files += 1;
        const path = join(one.parentPath, one.name);
        found.push(...secretsIn(path, await readFile(path)));
      }
    }
    expect(files).toBeGreaterThan(500);
    expect(found).toEqual([]);
  } finally {
    await chain[Symbol.asyncDispose]();
    const cluster = await findCluster(dataDir);
    if (cluster !== undefined) await rm(dirname(cluster), { recursive: true, force: true });
    await rm(dir, { recursive: true, force: true });
  }
}, 600_000);
