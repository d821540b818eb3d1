const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;

/**
 * A cron expression with its time zone, as the terms hold it (`0 18 * * 1 (UTC)`), in words: `every Monday at 18:00 UTC`.
 * What is not one of the usual ones stays as it is.
 */
export function scheduleWords(schedule: string): string {
  const read = /^(\d{1,2}) (\d{1,2}|\*|\*\/\d{1,2}) (\d{1,2}|\*) \* ([\d,]+|\*)(?: \(?([\w/+-]+)\)?)?$/.exec(schedule);
  if (read === null) return schedule;
  const [, minute = "0", hour = "*", date = "*", days = "*", zone] = read;
  const end = zone === undefined ? "" : ` ${zone}`;
  if (hour === "*") return date === "*" && days === "*" ? `every hour at minute ${minute}` : schedule;
  if (hour.startsWith("*/")) {
    return date === "*" && days === "*" ? `every ${hour.slice(2)} hours at minute ${minute}` : schedule;
  }
  const at = `at ${hour.padStart(2, "0")}:${minute.padStart(2, "0")}${end}`;
  if (date !== "*") return days === "*" ? `on day ${date} of every month ${at}` : schedule;
  if (days === "*") return `every day ${at}`;
  const names = days.split(",").map((day) => DAYS[Number(day)]);
  return names.includes(undefined) ? schedule : `every ${names.join(" and ")} ${at}`;
}
