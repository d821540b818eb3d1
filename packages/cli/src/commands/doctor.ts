import { tmpdir } from "node:os";
import { BadValue, type HostPort, hostPortValue, type OptionDefinitions, type OptionProblem } from "@openpool/base";
import { poolOptions, secretFor, toUpstreams } from "@openpool/pool";
import {
  checkClock,
  checkDataDir,
  checkDevices,
  checkEndpoint,
  checkFfmpeg,
  checkNode,
  checkNvidia,
  checkPort,
  checkRunningPool,
  type Finding,
} from "../doctor/checks.ts";
import { checkUpstream } from "../doctor/upstream.ts";
import { exitCode } from "../io.ts";
import type { Registry } from "../registry.ts";
import { settingsElsewhere } from "../settings/commands.ts";
import { addSettings, flagsOf } from "../settings/flags.ts";
import { readNamedFile, settingsError, settle } from "../settings/settle.ts";

const doctorSettings = {
  dataDir: poolOptions.dataDir,
  listen: poolOptions.listen,
  adminListen: poolOptions.adminListen,
  upstream: poolOptions.upstream,
  upstreamSecretFile: poolOptions.upstreamSecretFile,
  upstreamCli: poolOptions.upstreamCli,
} satisfies OptionDefinitions;

export function addDoctorCommand({ program, run }: Registry): void {
  const command = program
    .command("doctor")
    .summary("check this machine, and a pool's public address, for what usually goes wrong")
    .description("Checks what a pool or a worker needs on this machine, and says what to do about what is missing.")
    .option("--pool <HOST:PORT>", "also check a pool's public address from here: TLS, HTTP/2, certificate, clock")
    .option("--json", "print an array of {level, what, text, advice}")
    .addHelpText(
      "after",
      `
Examples:
  openpool doctor
  openpool doctor --pool pool.example.com:8935
  openpool doctor --upstream 127.0.0.1:8935 --upstream-secret-file orch.secret

With --upstream it looks whether the pool could work for that orchestrator. It registers nothing and changes nothing.

Exits 0 unless something fails; a warning is no failure.`,
    );
  addSettings(command, doctorSettings);
  command.action(() =>
    run(async (io) => {
      const { json, pool } = command.opts<{ json?: boolean; pool?: string }>();
      const endpoint = pool === undefined ? undefined : readEndpoint(pool);
      const { values, inForce } = settle(
        doctorSettings,
        flagsOf(command, doctorSettings, 0),
        settingsElsewhere(doctorSettings),
        io,
        { othersInFile: true },
      );
      const problems: OptionProblem[] = [];
      const upstreams = toUpstreams(values, problems);
      if (problems.length > 0) throw settingsError(problems);
      const secretFile = values.upstreamSecretFile ?? "";
      const secrets =
        upstreams.length > 0 && secretFile !== ""
          ? readNamedFile(secretFile, inForce.upstreamSecretFile.from)
          : undefined;
      const colour = io.outIsTerminal && !io.env["NO_COLOR"];
      const findings: Finding[] = [];
      const tell = async (...found: readonly Finding[]): Promise<void> => {
        findings.push(...found);
        if (!json) for (const one of found) await io.out(findingText(one, colour));
      };
      await tell(checkNode(process.versions.node), checkClock(Date.now()));
      const ffmpeg = await checkFfmpeg();
      await tell(...ffmpeg);
      if (ffmpeg[0]?.level === "ok") await tell(...(await checkDevices(tmpdir(), io.stop)));
      await tell(await checkNvidia());
      await tell(...(await checkDataDir(values.dataDir)));
      const running = await checkRunningPool(values.dataDir);
      // Where a pool runs its ports are taken, and rightly so.
      if (running) await tell(running);
      else {
        await tell({ level: "ok", what: "pool", text: `none runs in ${values.dataDir}` });
        const beside = upstreams.some(({ address }) => address.port === values.listen.port);
        await tell(await checkPort("public port", values.listen, "--listen", beside));
        await tell(await checkPort("admin port", values.adminListen, "--admin-listen"));
      }
      const names = upstreams.map(({ name }) => name);
      for (const upstream of upstreams) {
        const secret = secrets === undefined ? "" : secretFor(upstream.name, names, secrets, secretFile);
        await tell(...(await checkUpstream(upstream, secret, io.stop)));
      }
      if (endpoint) await tell(...(await checkEndpoint(endpoint)));
      if (json) await io.out(`${JSON.stringify(findings, undefined, 2)}\n`);
      return findings.some((one) => one.level === "fail") ? exitCode.failed : exitCode.ok;
    }),
  );
}

function readEndpoint(text: string): HostPort {
  const address = hostPortValue({ minPort: 1 }).parse(text.replace(/^https:\/\//, "").replace(/\/$/, ""));
  if (address instanceof BadValue)
    throw settingsError([{ where: "--pool", problem: `${JSON.stringify(text)} ${address.problem}` }]);
  return address;
}

const colours = { ok: "\u001b[32m", warn: "\u001b[33m", fail: "\u001b[31m" } as const;

function findingText({ level, what, text, advice }: Finding, colour: boolean): string {
  const mark = level.padEnd(4);
  const head = `${colour ? `${colours[level]}${mark}\u001b[0m` : mark}  ${what.padEnd(15)} ${text}`;
  return advice === undefined ? `${head}\n` : `${head}\n${" ".repeat(22)}→ ${advice}\n`;
}
