import { readFileSync } from "node:fs";
import process from "node:process";
import { systemClock } from "@openpool/base";
import { type Channel, runPoolChild } from "./child.ts";
import { startServedNode } from "./served-node.ts";

/** What the supervisor runs. The end of a process is decided here and nowhere else in this package. */

// A terminal sends these to everyone in it. The supervisor decides what they mean, and tells us.
for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"] as const) process.on(signal, () => {});

// All packages have one version.
const about = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };

process.exit(
  await runPoolChild({
    // `process.on` and `process.send` know any message; the supervisor sends no other.
    channel: process as Channel,
    clock: systemClock,
    startNode: startServedNode,
    version: about.version,
    writeError: (text) => void process.stderr.write(text),
  }),
);
