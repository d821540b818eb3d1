import { errorText, type Logger } from "@openpool/base";
import type { HookShare, JobHooks } from "../ledger/schemes/index.ts";
import type { CreditedJob } from "../ledger/types.ts";
import {
  type HookName,
  type HookOpinion,
  jobInput,
  type JoiningWorker,
  joinedInput,
  payoutInput,
  type PlannedPayout,
  readOpinion,
  readShare,
} from "./interface.ts";
import { hashOfHook, HookError } from "./read-module.ts";
import type { HookRunner } from "./runner.ts";

export interface HooksDeps {
  readonly runner: HookRunner;
  readonly logger: Logger;
  /** Every module that was ever added, by its hash. */
  readonly source: (hash: string) => Promise<string | undefined>;
}

const NO_OPINION: HookOpinion = { veto: undefined, note: undefined };
/** Registrations of which it is remembered what a hook said. */
const MAX_JOINED = 10_000;

/** The operator's hooks at work: typed calls, checked answers. */
export class Hooks implements JobHooks {
  readonly #deps: HooksDeps;
  readonly #modules = new Map<string, { readonly source: string; readonly names: ReadonlySet<string> }>();
  /** What was said of registrations, by the hook and what it was told. */
  readonly #joined = new Map<string, Promise<HookOpinion>>();

  constructor(deps: HooksDeps) {
    this.#deps = deps;
  }

  async share(hash: string, jobs: readonly CreditedJob[]): Promise<readonly HookShare[]> {
    const module = await this.#module(hash);
    const answers = await this.#deps.runner.run(
      module.source,
      jobs.map((job) => ({ name: "share" satisfies HookName, inputJson: jobInput(job) })),
    );
    return jobs.map((job, i) =>
      readShare(hash, job.feeWei, answers[i] ?? { kind: "failed", why: "the engine gave no answer" }),
    );
  }

  async notes(hash: string, jobs: readonly CreditedJob[]): Promise<readonly (string | undefined)[]> {
    const module = await this.#module(hash);
    if (!module.names.has("jobCredited")) return jobs.map(() => undefined);
    const answers = await this.#deps.runner.run(
      module.source,
      jobs.map((job) => ({ name: "jobCredited" satisfies HookName, inputJson: jobInput(job) })),
    );
    return answers.map((answer) => {
      const opinion = readOpinion(answer);
      if (typeof opinion !== "string") return opinion.note;
      // A remark is not worth a worker's money: without it the job is booked as it is.
      this.#deps.logger.warn("the hook jobCredited failed", { hook: hash, why: opinion });
      return undefined;
    });
  }

  /** A hook that fails keeps nobody from working. A rig that comes back as it was is not asked about again. */
  workerJoined(hash: string, joining: JoiningWorker): Promise<HookOpinion> {
    const inputJson = joinedInput(joining);
    const key = `${hash} ${inputJson}`;
    const known = this.#joined.get(key);
    if (known) return known;
    const opinion = this.#ask(hash, "workerJoined", inputJson, () => {
      this.#joined.delete(key);
      return NO_OPINION;
    });
    // Bounded, for names of rigs can be made up.
    if (this.#joined.size >= MAX_JOINED) this.#joined.clear();
    this.#joined.set(key, opinion);
    return opinion;
  }

  /** A hook that fails keeps a payout back: money that is gone does not come back, and a payout can wait. */
  async payoutPlanned(hash: string, payout: PlannedPayout): Promise<HookOpinion> {
    return this.#ask(hash, "payoutPlanned", payoutInput(payout), (why) => ({
      veto: `the hook payoutPlanned failed: ${why}`,
      note: undefined,
    }));
  }

  /** Which functions a module has, or why it cannot be read. */
  exportsOf(source: string): ReturnType<HookRunner["exports"]> {
    return this.#deps.runner.exports(source);
  }

  async #ask(
    hash: string,
    name: HookName,
    inputJson: string,
    otherwise: (why: string) => HookOpinion,
  ): Promise<HookOpinion> {
    let why: string;
    try {
      const module = await this.#module(hash);
      if (!module.names.has(name)) return NO_OPINION;
      const [answer] = await this.#deps.runner.run(module.source, [{ name, inputJson }]);
      const opinion = readOpinion(answer ?? { kind: "failed", why: "the engine gave no answer" });
      if (typeof opinion !== "string") return opinion;
      why = opinion;
    } catch (error) {
      why = errorText(error);
    }
    this.#deps.logger.warn(`the hook ${name} failed`, { hook: hash, why });
    return otherwise(why);
  }

  /** @throws HookError `hooks/unknown-module`: the books stop rather than book a job by another rule than was promised. */
  async #module(hash: string): Promise<{ readonly source: string; readonly names: ReadonlySet<string> }> {
    const known = this.#modules.get(hash);
    if (known) return known;
    const source = await this.#deps.source(hash);
    if (source === undefined || hashOfHook(source) !== hash) {
      throw new HookError(
        { code: "hooks/unknown-module" },
        `The terms name the hook ${hash}, and it is not in this pool's database: add its file with \`openpool hooks add\`.`,
      );
    }
    const exported = await this.#deps.runner.exports(source);
    const module = { source, names: new Set("names" in exported ? exported.names : []) };
    this.#modules.set(hash, module);
    return module;
  }
}
