import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { run } from "./testing/run.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "openpool-cli-"));
  // The first run loads every command from its sources, which a busy machine takes its time for.
  await run(["--help"]);
}, 300_000);
afterAll(() => rm(directory, { recursive: true }));

async function file(name: string, content: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

/** The settings in force as `config --json` prints them: name to [value, from]. */
async function configOf(args: readonly string[], env: Record<string, string> = {}): Promise<Record<string, unknown[]>> {
  const ran = await run(["config", ...args, "--json"], { env, cwd: directory });
  expect(ran).toMatchObject({ code: 0, err: "" });
  const shown = JSON.parse(ran.out) as { name: string; value: string | null; from: string }[];
  return Object.fromEntries(shown.map((one) => [one.name, [one.value, one.from]]));
}

describe("help", () => {
  test.each([[[]], [["pool"]], [["worker"]], [["push"]], [["workers", "add"]], [["events"]], [["demo"]]])(
    "of %j goes to stdout and shows examples",
    async (command) => {
      const { code, out, err } = await run([...command, "--help"]);
      expect([code, err]).toEqual([0, ""]);
      expect(out).toMatch(/^Usage: openpool/);
      expect(out).toContain("Example");
    },
  );

  test("of no command at all is told on stderr, as a mistake", async () => {
    const { code, out, err } = await run([]);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain("Usage: openpool");
  });
});

test("a mistyped command is told the right one", async () => {
  expect(await run(["balnces"])).toEqual({ code: 2, out: "", err: expect.stringContaining("Did you mean balances?") });
});

test("everything that is wrong with flags, environment and file is told at once", async () => {
  const config = await file("bad.yaml", "comission: 10%\nprice-per-unit: lots\ndevices: cpu\n");
  const { code, out, err } = await run(
    [
      "pool",
      "--lisen",
      "0.0.0.0:1",
      "--commission",
      "25",
      "--network",
      "arbitrum",
      "--config",
      "bad.yaml",
      "--tls-cert",
      "a.pem",
      "extra",
    ],
    { cwd: directory, env: { OPENPOOL_PRICE_PERUNIT: "1", OPENPOOL_DEVICES: "cpu", OPENPOOL_MAX_SESSIONS: "0" } },
  );
  expect(config).toContain("bad.yaml");
  expect([code, out]).toEqual([2, ""]);
  expect(err).toContain("[config/invalid]");
  for (const line of [
    /--lisen +is not a setting; did you mean --listen\?/,
    /extra +is one argument too many/,
    /OPENPOOL_PRICE_PERUNIT +is not a setting; did you mean OPENPOOL_PRICE_PER_UNIT\?/,
    /comission in bad\.yaml +is not a setting; did you mean commission in bad\.yaml\?/,
    /devices in bad\.yaml +is a setting of `openpool worker`/,
    /--commission +"25" has no unit/,
    /--network +"arbitrum" is not possible yet.*--network offchain/,
    /OPENPOOL_MAX_SESSIONS +"0" is out of range/,
    /price-per-unit in bad\.yaml +"lots" is not a whole number/,
    /--tls-key +is missing: --tls-cert was given/,
    /--service-uri +is missing/,
  ]) {
    expect(err).toMatch(line);
  }
  expect(err).not.toContain("OPENPOOL_DEVICES");
});

test("what could not be read is not called missing as well", async () => {
  const { err } = await run(["pool", "--service-uri", "ftp://x", "--upstream", "a=127.0.0.1:8935"]);
  expect(err.match(/--service-uri/g)).toHaveLength(1);
  expect(err).toMatch(/--upstream-secret-file +is missing/);
  const worker = await run(["worker", "--max-sessions", "0"]);
  expect(worker.err).toMatch(/--max-sessions +"0"[^]*--pool +is missing[^]*--address +is missing/);
});

test("a settings file that is not there is told", async () => {
  const ran = await run(["pool", "--config", "/nowhere.yaml"]);
  expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(/--config +cannot be read/) });
});

describe("openpool config", () => {
  const reached = ["--service-uri", "https://pool.example:8935"];

  test("says what is in force and where it comes from", async () => {
    await file("pool.yaml", "data-dir: data\ncommission: 10%\nlisten: 10.0.0.1:1\nprice-per-unit: 5\n");
    const shown = await configOf(["--config", "pool.yaml", "--listen", "10.0.0.2:2"], {
      OPENPOOL_COMMISSION: "12.5%",
      OPENPOOL_LISTEN: "10.0.0.3:3",
      OPENPOOL_JOIN: "",
    });
    expect(shown).toMatchObject({
      listen: ["10.0.0.2:2", "--listen"],
      commission: ["12.5%", "OPENPOOL_COMMISSION"],
      "price-per-unit": ["5", "price-per-unit in pool.yaml"],
      // Relative to the file, and an empty variable is none.
      "data-dir": [join(directory, "data"), "data-dir in pool.yaml"],
      join: ["open", "default"],
      "service-uri": [null, "default"],
    });
  });

  test("knows ~ and the settings of the other commands", async () => {
    expect((await configOf(reached))["data-dir"]).toEqual(["/home/ada/.openpool", "default"]);
    const worker = ["worker", "--pool", "a:1", "--address", "0x00000000000000000000000000000000000000a1"];
    expect((await configOf(worker, { OPENPOOL_DEVICES: "cpu" }))["devices"]).toEqual(["cpu", "OPENPOOL_DEVICES"]);
  });

  test("names what keeps the command from starting, and shows the settings all the same", async () => {
    const pool = await run(["config", "--commission", "7%", "--tls-cert", "a.pem", "--terms-file", "/nowhere.yaml"]);
    expect(pool.code).toBe(2);
    expect(pool.out).toMatch(/commission +7% +--commission/);
    expect(pool.err).toMatch(/--terms-file +cannot be read/);
    await file("terms.yaml", "{}");
    const more = await run(["config", "--tls-cert", "a.pem", "--terms-file", "terms.yaml"], { cwd: directory });
    expect(more.err).toMatch(/--service-uri +is missing[^]*--tls-key +is missing/);
    expect((await run(["config", "worker"])).err).toMatch(/--pool +is missing[^]*--address +is missing/);
    const wrong = await run(["config", "--tls-cert", "a.pem", "--max-sessions", "0"]);
    expect(wrong).toMatchObject({ code: 2, out: "" });
    expect(wrong.err).toMatch(/--max-sessions +"0"[^]*--tls-key +is missing/);
  });

  test("hides secrets, also in complaints about them", async () => {
    const shown = await configOf(reached, { OPENPOOL_DATABASE_URL: "postgres://ada:hunter2@db/pool" });
    expect(shown["database-url"]).toEqual(["postgres://ada:***@db/pool", "OPENPOOL_DATABASE_URL"]);
    const { err } = await run(["pool", "--database-url", "mysql://ada:hunter2@db/pool"]);
    expect(err).toContain("mysql://ada:***@db/pool");
    expect(err).not.toContain("hunter2");
  });
});

test("the file with the secrets of orchestrators has one line for all, or one for each", async () => {
  const upstream = ["--upstream", "a=127.0.0.1:1,b=127.0.0.1:2", "--service-uri", "https://pool.example:8935"];
  const config = async (secrets: string) => {
    const path = await file("orch.secret", secrets);
    return run(["config", ...upstream, "--upstream-secret-file", path]);
  };
  for (const secrets of ["x\n", "a=x\nb=y", "a=x\r\nb=y\r\n"]) {
    expect(await config(secrets)).toMatchObject({ code: 0, err: "" });
  }
  for (const secrets of ["", "a=hush\n", "a=hush\nc=hush\n"]) {
    const { code, err } = await config(secrets);
    expect([code, err]).toEqual([2, expect.stringContaining("[upstream/no-secret]")]);
    expect(err).not.toContain("hush");
  }
});

describe("a worker's settings", () => {
  const address = "0x00000000000000000000000000000000000000a1";

  test("must say whom to work for and who is paid, once", async () => {
    const { code, err } = await run(["worker"]);
    expect(code).toBe(2);
    expect(err).toMatch(/--pool +is missing/);
    expect(err).toMatch(/--address +is missing/);
    const secret = await file("secret", "op_x\n");
    const both = await run(["worker", "--pool", "a:1", "--address", address, "--secret-file", secret]);
    expect(both.err).toMatch(/--address +says who you are, and so does --secret-file/);
  });

  test("tell a mistyped address, the zero address and a bad rig name apart", async () => {
    for (const [flag, value, problem] of [
      ["--address", "0x12", "40 hex digits"],
      ["--address", `0x${"0".repeat(40)}`, "zero address"],
      ["--address", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD".replace("5aA", "5AA"), "typo"],
      ["--name", "my rig", "letters, digits"],
      ["--pool", "::", "HOST:PORT"],
      ["--devices", "gpu", "is no device"],
    ] as const) {
      expect((await run(["worker", flag, value])).err).toContain(problem);
    }
  });

  test("never show a secret that a file should not hold", async () => {
    const secret = await file("two", "op_first\nop_second\n");
    const { code, err } = await run(["worker", "--pool", "a:1", "--secret-file", secret]);
    expect(code).toBe(2);
    expect(err).toContain("more than one line");
    expect(err).not.toContain("op_");
  });
});

describe("what is shipped to run it elsewhere", () => {
  const root = join(import.meta.dirname, "../../..");
  const shipped = (path: string): string => readFileSync(join(root, "deploy", path), "utf8");
  const address = "0x00000000000000000000000000000000000000a1";
  /** `NAME=VALUE` of each that is there, in whatever the lines begin with. */
  const assignments = (text: string): Record<string, string> =>
    Object.fromEntries([...text.matchAll(/(?<=[ =])([A-Z_]+)=(\S+)/g)].map(([, name, value]) => [name!, value!]));
  /** What would run with these flags and variables has nothing to say against any of them. */
  const starts = async (args: readonly string[], env: Record<string, string>) =>
    expect(await run(["config", ...args], { env, cwd: directory })).toMatchObject({ code: 0, err: "" });

  test("the image is made of files that are there, and sets what there is", async () => {
    const dockerfile = shipped("Dockerfile");
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, from]) => from!.split(" "));
    expect(copied).toContain("package.json");
    const left = shipped("Dockerfile.dockerignore").split("\n");
    for (const path of copied)
      expect([path, existsSync(join(root, path)), left.includes(path)]).toEqual([path, true, false]);
    for (const [, program] of dockerfile.matchAll(/\/app\/(\S+\.js)/g))
      expect(existsSync(join(root, program!))).toBe(true);
    const [env = ""] = /^ENV .*$/m.exec(dockerfile) ?? [];
    await starts(["pool", "--service-uri", "https://pool.example:8935"], assignments(env));
  });

  test("the compose file's commands and variables are ones that a pool and a worker take", async () => {
    const given = {
      SERVICE_URI: "https://pool.example:8935",
      WORKER_ADDRESS: address,
      PUBLIC_URL: "https://pool.example",
    };
    const text = Object.entries(given).reduce(
      (filled, [name, value]) => filled.replaceAll(new RegExp(`\\$\\{${name}:[^}]*\\}`, "g"), value),
      shipped("compose.yaml"),
    );
    expect(text).not.toContain("${");
    const { services } = parse(text) as {
      services: Record<
        string,
        { command: string[]; environment?: Record<string, string>; build?: { dockerfile: string } }
      >;
    };
    expect(Object.keys(services)).toEqual(["pool", "worker"]);
    for (const { command, environment = {} } of Object.values(services)) await starts(command, environment);
    expect(existsSync(join(root, services["pool"]!.build!.dockerfile))).toBe(true);
  });

  test("the units run commands that there are, with settings that they take", async () => {
    const worker = [...shipped("systemd/openpool-worker.service").matchAll(/^#   ([a-z]+: .*)$/gm)].map(
      ([, line]) => line,
    );
    await file("worker.yaml", worker.join("\n").replace("0xYOUR_PAYOUT_ADDRESS", address));
    const files = {
      "/etc/openpool/pool.yaml": join(root, "deploy/systemd/pool.yaml"),
      "/etc/openpool/worker.yaml": "worker.yaml",
    };
    for (const name of readdirSync(join(root, "deploy/systemd")).filter((one) => one.endsWith(".service"))) {
      const unit = shipped(`systemd/${name}`);
      const commands = [...unit.matchAll(/^Exec\w+=.* \/opt\/openpool\/(\S+\.js) (\w+)/gm)];
      expect(commands.length).toBeGreaterThan(0);
      for (const [, program, command] of commands) {
        expect(existsSync(join(root, program!))).toBe(true);
        expect(await run([command!, "--help"])).toMatchObject({ code: 0 });
      }
      const env = assignments((unit.match(/^Environment=.*$/gm) ?? []).join("\n"));
      for (const [path, here] of Object.entries(files))
        if (env["OPENPOOL_CONFIG"] === path) env["OPENPOOL_CONFIG"] = here;
      await starts([name === "openpool-worker.service" ? "worker" : "pool"], env);
    }
  });
});

test("a push that never ends and ends after some segments is refused before anything is sent", async () => {
  expect(await run(["push", "x.mp4", "--loop", "--count", "3"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("--loop"),
  });
  expect(await run(["push"])).toMatchObject({ code: 2, err: expect.stringContaining("FILE|DIR") });
});

test("the generated parts of the manual say what the program does", async () => {
  expect(await run(["docs", "--check"])).toEqual({ code: 0, out: "", err: "" });
});

test("the manual names no command and no flag that there is not", () => {
  const root = join(import.meta.dirname, "../../..");
  const read = (path: string): string => readFileSync(join(root, path), "utf8");
  const reference = read("docs/cli.md");
  const commands = new Set([...reference.matchAll(/^#+ openpool ([a-z -]+)$/gm)].map(([, command]) => command!));
  const groups = new Set([...commands].flatMap((one) => (one.includes(" ") ? [one.split(" ")[0]] : [])));
  const flags = new Set(reference.match(/--[a-z][a-z0-9-]+/g));
  /** Those of npx, docker, systemctl and tsx. */
  const foreign = new Set(["--no", "--build", "--gpus", "--shm-size", "--now", "--conditions"]);
  const pages = readdirSync(join(root, "docs")).filter((name) => /^(?!cli|performance).*\.md$/.test(name));
  const wrong: string[] = [];
  for (const page of ["README.md", ...pages.map((name) => `docs/${name}`)]) {
    const text = read(page);
    const fenced = [...text.matchAll(/^ *```.*\n([^]*?)^ *```$/gm)].map(([, code]) => code!);
    const inline = [...text.replaceAll(/^ *```[^]*?^ *```$/gm, "").matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
    for (const code of [...fenced, ...inline]) {
      for (const [, command, next] of code.matchAll(/(?<!chown )\bopenpool ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?/g)) {
        const named = groups.has(command) && next !== undefined ? `${command} ${next}` : command!;
        if (!commands.has(named)) wrong.push(`${page}: openpool ${named}`);
      }
    }
    for (const flag of inline.flatMap((code) => code.match(/(?<![\w-])--[a-z][a-z0-9-]+/g) ?? [])) {
      if (!flags.has(flag) && !foreign.has(flag)) wrong.push(`${page}: ${flag}`);
    }
  }
  expect(commands.size).toBeGreaterThan(50);
  expect(wrong).toEqual([]);
});
