import { formatHostPort, systemClock } from "@openpool/base";
import { type OrchestratorProbe, probeOrchestrator, type UpstreamOptions } from "@openpool/pool";
import { compareVersions, LIVEPEER_VERSION } from "@openpool/protocol";
import { type Finding } from "./checks.ts";

/** Whether the pool could work for an orchestrator, before anything is changed there or here. */
export async function checkUpstream(
  upstream: UpstreamOptions,
  secret: string,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { address, cli } = upstream;
  return judgeProbe(
    upstream,
    secret,
    await probeOrchestrator({ address, secret, cli }, { clock: systemClock, signal }),
  );
}

/** What a probe means to the operator. */
export function judgeProbe(
  { name, address, cli }: UpstreamOptions,
  secret: string,
  probe: OrchestratorProbe,
): readonly Finding[] {
  const what = `upstream ${name}`;
  const where = formatHostPort(address);
  if (probe.unreachable !== undefined) {
    const advice = "name the address of its -serviceAddr or -httpAddr, as this machine reaches it; is it running?";
    return [{ level: "fail", what, text: `${where} cannot be used: ${probe.unreachable}`, advice }];
  }
  return [
    { level: "ok", what, text: `${where} is reached over TLS and HTTP/2` },
    secretFinding(what, probe, secret),
    versionFinding(what, probe),
    roomFinding(what, probe),
    maxSessionsFinding(what, probe),
    priceFinding(what, probe, cli && formatHostPort(cli)),
  ];
}

function secretFinding(what: string, { secretTaken, secretText }: OrchestratorProbe, secret: string): Finding {
  if (secretTaken) return { level: "ok", what, text: "it takes the secret, and transcoders" };
  if (secretTaken === false) {
    return {
      level: "fail",
      what,
      text: secret === "" ? "no secret was given" : "it does not take the secret",
      advice:
        "--upstream-secret-file must hold exactly what its -orchSecret says (a file there is read by go-livepeer)",
    };
  }
  return {
    level: "fail",
    what,
    text: `it takes no transcoders (${secretText || "no answer"})`,
    advice:
      "start it with -orchestrator and -orchSecret, and without -transcoder: then it does not transcode by itself",
  };
}

function versionFinding(what: string, { version }: OrchestratorProbe): Finding {
  const tested = `the pool is tested with go-livepeer ${LIVEPEER_VERSION}`;
  if (compareVersions(version, "") === 0) {
    const text = `its version cannot be seen; ${tested}`;
    return { level: "warn", what, text, advice: "`livepeer -version` says it, and its CLI port: see --upstream-cli" };
  }
  const difference = compareVersions(version, LIVEPEER_VERSION);
  if (difference === 0) return { level: "ok", what, text: `go-livepeer ${version}, which the pool is tested with` };
  return {
    level: "warn",
    what,
    text: `go-livepeer ${version} is ${difference < 0 ? "older" : "newer"} than what the pool is tested with`,
    advice: `${tested}; others may well work: watch its log and \`openpool upstream list\` for the first hour`,
  };
}

/** What is connected to it; undefined: its CLI port was not asked, or did not say. */
function connectedTo({ cli }: OrchestratorProbe): { readonly number: number; readonly sessions: number } | undefined {
  if (typeof cli !== "object") return undefined;
  const sessions = cli.transcoders.reduce((sum, one) => sum + one.capacity, 0);
  return { number: cli.transcoders.length, sessions };
}

function roomFinding(what: string, probe: OrchestratorProbe): Finding {
  const connected = connectedTo(probe);
  const beside =
    connected && connected.number > 0
      ? `; ${connected.number} transcoders with ${connected.sessions} sessions are connected to it already`
      : "";
  if (probe.hasRoom) return { level: "ok", what, text: `it has room for sessions${beside}` };
  if (probe.hasRoom === undefined) {
    const said = probe.roomText || "no answer";
    return { level: "warn", what, text: `whether it has room for sessions cannot be seen (${said})${beside}` };
  }
  if (connected?.number === 0) {
    return { level: "ok", what, text: "it takes no sessions now, while no transcoder is connected to it" };
  }
  return {
    level: "warn",
    what,
    text: `it takes no more sessions now${beside}`,
    advice: "that is right where -maxSessions is auto and the pool is all that it waits for; else raise -maxSessions",
  };
}

/** Nothing says what `-maxSessions` is; with no transcoder connected, whether there is room gives it away. */
function maxSessionsFinding(what: string, probe: OrchestratorProbe): Finding {
  const connected = connectedTo(probe);
  const meaning =
    "with auto it takes as many sessions as the pool offers, and turns gateways away while the pool is away; with a number (10 unless set) never more than that, whatever the pool offers";
  if (connected?.number === 0 && probe.hasRoom !== undefined) {
    return probe.hasRoom
      ? { level: "warn", what, text: "its -maxSessions is a number, not auto", advice: meaning }
      : { level: "ok", what, text: "its -maxSessions is auto", advice: meaning };
  }
  const why = connected
    ? probe.hasRoom === undefined
      ? "it does not say whether it has room"
      : "transcoders are connected"
    : "its CLI port does not say how many transcoders are connected";
  return {
    level: "ok",
    what,
    text: `whether its -maxSessions is auto cannot be seen from here: ${why}`,
    advice: `${meaning}. The command that starts it says which; where it runs with -monitor, livepeer_max_sessions_total grows and shrinks with its transcoders if it is auto`,
  };
}

function priceFinding(what: string, { cli }: OrchestratorProbe, where: string | undefined): Finding {
  const configured = "work is credited at --price-per-unit";
  if (cli === undefined) {
    const advice =
      "name its -cliAddr with --upstream-cli, or set --price-per-unit to what it charges; only where there is one orchestrator, on this machine, is 127.0.0.1:7935 asked unnamed";
    return { level: "warn", what, text: `its price is not asked for; ${configured}`, advice };
  }
  if (typeof cli === "string") {
    const advice = "name its -cliAddr with --upstream-cli, or set --price-per-unit to what it charges";
    return { level: "warn", what, text: `its CLI port ${where} does not answer (${cli}); ${configured}`, advice };
  }
  if (!cli.price) return { level: "ok", what, text: `it names no price; ${configured}` };
  return { level: "ok", what, text: `it charges ${cli.price.pricePerUnitWei}/${cli.price.pixelsPerUnit} wei a pixel` };
}
