import { expect, test } from "vitest";
import { scheduleWords } from "./schedule.ts";

test.each([
  ["0 6 * * * (UTC)", "every day at 06:00 UTC"],
  ["30 18 * * 1 (Europe/Berlin)", "every Monday at 18:30 Europe/Berlin"],
  ["0 18 * * 1,4 (UTC)", "every Monday and Thursday at 18:00 UTC"],
  ["0 */6 * * * (UTC)", "every 6 hours at minute 0"],
  ["0 12 1 * * (UTC)", "on day 1 of every month at 12:00 UTC"],
  ["15 * * * *", "every hour at minute 15"],
  ["0 6 * 2 *", "0 6 * 2 *"],
  ["0 6 * * 9", "0 6 * * 9"],
  ["every Monday", "every Monday"],
])("a schedule of %s reads %s", (cron, words) => {
  expect(scheduleWords(cron)).toBe(words);
});
