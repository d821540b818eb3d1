import { formatHostPort, systemClock } from "@openpool/base";
import { type OrchestratorProbe, probeOrchestrator, type UpstreamOptions } from "@openpool/pool";
import { type Finding } from "./checks.ts";

/** Whether the pool could work for an orchestrator, before anything is changed there or here. */
export async function checkUpstream(
  { name, address, cli }: UpstreamOptions,
  secret: string,
  signal: AbortSignal,
): Promise<Finding[]> {
  const probe = await probeOrchestrator({ address, secret, cli }, { clock: systemClock, signal });
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

function versionFinding(what: string, { gateway, cli }: OrchestratorProbe): Finding {
  const version = gateway.kind === "info" ? gateway.version : typeof cli === "object" ? (cli.version ?? "") : "";
  if (version === "") return { level: "ok", what, text: "its version is not known" };
  return { level: "ok", what, text: `go-livepeer ${version}` };
}

function roomFinding(what: string, { gateway, cli }: OrchestratorProbe): Finding {
  const others = typeof cli === "object" ? cli.transcoders : [];
  const capacity = others.reduce((sum, one) => sum + one.capacity, 0);
  const beside =
    others.length === 0 ? "" : `; ${others.length} transcoders with ${capacity} sessions are connected to it already`;
  if (gateway.kind === "info") {
    const text = `it has room for sessions${beside}`;
    if (typeof cli === "object" && others.length === 0) {
      const advice =
        "its -maxSessions is a fixed number: the pool serves no more at once, whatever its workers could. With -maxSessions auto it follows the pool";
      return { level: "ok", what, text, advice };
    }
    return { level: "ok", what, text };
  }
  if (!gateway.text.includes("OrchestratorCapped")) {
    const why = gateway.text.includes("sig check failed") ? "it asks gateways to sign" : gateway.text || "no answer";
    return { level: "ok", what, text: `free capacity cannot be seen from here (${why})${beside}` };
  }
  return others.length === 0
    ? {
        level: "ok",
        what,
        text: "it takes no sessions now: its -maxSessions is auto, and no transcoder is connected",
        advice: "it will take as many as the pool offers; gateways are turned away while the pool is away",
      }
    : {
        level: "warn",
        what,
        text: `it takes no more sessions now${beside}`,
        advice: "raise its -maxSessions, or set it to auto: then it follows what its transcoders offer",
      };
}

function priceFinding(what: string, { cli }: OrchestratorProbe, where: string | undefined): Finding {
  const configured = "work is credited at --price-per-unit";
  if (cli === undefined) {
    return { level: "ok", what, text: `its price is not asked for; ${configured}` };
  }
  if (typeof cli === "string") {
    const advice = "name its -cliAddr with --upstream-cli, or set --price-per-unit to what it charges";
    return { level: "warn", what, text: `its CLI port ${where} does not answer (${cli}); ${configured}`, advice };
  }
  if (!cli.price) return { level: "ok", what, text: `it names no price; ${configured}` };
  return { level: "ok", what, text: `it charges ${cli.price.pricePerUnitWei}/${cli.price.pixelsPerUnit} wei a pixel` };
}
