/**
 * Asks GetOrchestrator ten times a second from a process of its own, so that what it measures is the answer and not the
 * load generator's event loop. Arguments: HOST:PORT. Prints JSON when its input ends.
 */
import { performance } from "node:perf_hooks";
import { create, toBinary } from "@bufbuild/protobuf";
import { capabilitySet, capabilityWords, OrchestratorRequestSchema } from "@openpool/protocol";
import { callUnary, connectH2, parseHostPort } from "../../test/peers/wire.ts";
import { spread } from "./numbers.ts";

const address = parseHostPort(process.argv[2] ?? "");
const capabilities = { bitstring: capabilityWords(capabilitySet(0, 1, 7, 8, 9, 12, 26)), constraints: {} };
const request = toBinary(
  OrchestratorRequestSchema,
  create(OrchestratorRequestSchema, { address: new Uint8Array(20), capabilities }),
);
const dialMs: number[] = [];
const answerMs: number[] = [];
let refused = 0;
let running = true;
process.stdin.on("end", () => (running = false)).resume();

while (running) {
  const startedMs = performance.now();
  try {
    const { session } = await connectH2(address);
    const connectedMs = performance.now();
    const answer = await callUnary(session, "/net.Orchestrator/GetOrchestrator", request);
    session.close();
    if (answer.answer) {
      dialMs.push(connectedMs - startedMs);
      answerMs.push(performance.now() - connectedMs);
    } else refused++;
  } catch {
    refused++;
  }
  await new Promise((resolve) => void setTimeout(resolve, 100 - (performance.now() - startedMs)));
}
process.stdout.write(
  JSON.stringify({ calls: answerMs.length, refused, dialMs: spread(dialMs), answerMs: spread(answerMs) }),
);
