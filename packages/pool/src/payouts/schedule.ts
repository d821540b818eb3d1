import { PoolError } from "@openpool/base";
import { Cron } from "croner";

/** The next time of a cron expression after `afterMs`, unix ms; undefined: never again. Throws `payout/bad-schedule`. */
export function nextTime(schedule: string, timeZone: string, afterMs: number): number | undefined {
  try {
    return new Cron(schedule, { timezone: timeZone, mode: "5-part" }).nextRun(new Date(afterMs))?.getTime();
  } catch (cause) {
    throw new PoolError(
      { code: "payout/bad-schedule" },
      `"${schedule}" in the time zone "${timeZone}" is no schedule: write five fields as cron does ("0 6 * * 1" is Mondays at 6) and a zone as Europe/Berlin.`,
      { cause },
    );
  }
}
