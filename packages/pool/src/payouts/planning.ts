import type { AccountWatch } from "./account-watch.ts";
import { type PayoutContext, type PayoutDeps, payerOf, type PayoutSettings } from "./context.ts";
import { gather } from "./gather.ts";
import { makePlan, type PlanRules } from "./planner.ts";
import { nextTime } from "./schedule.ts";
import type { PlannedPayout } from "./types.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
/** So long after a plan at its time that left somebody out for what may be otherwise soon, another one is made. */
const RETRY_MS = 15 * 60 * 1000;

/** Makes plans: at the times of the schedule, and when asked. */
export class Planning {
  readonly #context: PayoutContext;
  readonly #settings: PayoutSettings;
  readonly #deps: PayoutDeps;
  readonly #account: AccountWatch;

  constructor(context: PayoutContext, account: AccountWatch) {
    this.#context = context;
    this.#settings = context.settings;
    this.#deps = context.deps;
    this.#account = account;
  }

  get rules(): PlanRules {
    return { ...this.#settings.rules, ...this.#deps.terms() };
  }

  /** Plans when it is time to, and from then on now and then for those who were left out for what passes. */
  async keepSchedule(): Promise<void> {
    const { store, clock } = this.#deps;
    const { schedule, timeZone } = this.#deps.terms();
    const control = await store.control();
    const nowMs = clock.now();
    if (schedule === undefined) {
      if (control.nextAtMs !== undefined) await store.setNextAt(undefined, undefined);
      return;
    }
    const key = `${schedule} ${timeZone}`;
    const next = nextTime(schedule, timeZone, nowMs);
    const { nextAtMs } = control;
    // Later than the next time there is: it was reckoned by a clock that had run ahead.
    if (nextAtMs === undefined || control.schedule !== key || (next !== undefined && nextAtMs > next)) {
      await store.setNextAt(next, key);
      return;
    }
    if (nowMs < nextAtMs) return;
    const again = nowMs + RETRY_MS;
    const nextOf = (plan: PlannedPayout): number | undefined =>
      plan.mayPass && (next === undefined || again < next) ? again : next;
    const planned = await this.plan(false, nextOf);
    if (planned.run === undefined) await store.setNextAt(nextOf(planned), key);
  }

  /** Makes a plan. `nextOf`: when the schedule plans next, once this plan is written down. */
  async plan(dryRun: boolean, nextOf?: (plan: PlannedPayout) => number | undefined): Promise<PlannedPayout> {
    const { store, chain, clock, newId } = this.#deps;
    let { rules } = this;
    const payer = payerOf(this.#context);
    const none = (refused: string, mayPass: boolean): PlannedPayout => ({
      run: undefined,
      lines: [],
      waiting: [],
      refused,
      mayPass,
    });
    if (payer === undefined) {
      return none("there is no account to pay from: name a keystore with --payout-keystore", false);
    }
    const control = await store.control();
    const [halted] = control.halts;
    if (!dryRun && halted) return none(halted.message, true);
    if (!dryRun && control.paused !== undefined) return none(`payouts are paused: ${control.paused}`, true);
    const [open] = await store.openRuns();
    if (open) return none(`run ${open.run.id} is not done yet (${open.run.state})`, true);
    if (rules.batchContract !== undefined && rules.method !== "transfers") {
      if (await chain.hasBatchContract(rules.batchContract)) {
        // It is ours.
      } else if (rules.method === "auto") {
        rules = { ...rules, batchContract: undefined };
      } else {
        return none(
          `there is no batch contract of ours at ${rules.batchContract}: deploy it with \`openpool payouts deploy\``,
          true,
        );
      }
    }
    const gathered = await gather(rules, payer, this.#deps);
    await this.#account.weigh(gathered, payer);
    const plan = makePlan({
      ...gathered,
      rules,
      nowMs: clock.now(),
      newId,
      chainId: chain.chainId,
      payer,
      plannedWei: await store.plannedSince(clock.now() - DAY_MS),
      fiat: await this.#account.fiat(),
    });
    if (!plan.run) return plan;
    const reviewed = await this.#deps.review?.({ run: plan.run, lines: plan.lines });
    if (reviewed?.veto !== undefined) return { ...plan, run: undefined, refused: reviewed.veto, mayPass: false };
    const run = { ...plan.run, notes: reviewed?.notes ?? [] };
    if (dryRun) return { ...plan, run };
    if (await store.commitPlan(run, plan.lines, nextOf?.(plan))) return { ...plan, run };
    return none("the books moved while the plan was made: plan again", true);
  }
}
