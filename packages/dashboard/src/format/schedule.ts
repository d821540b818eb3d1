import { text } from "../text.tsx";

const words = text.schedule;

/**
 * A cron expression with its time zone, as the terms hold it (`0 18 * * 1 (UTC)`), in words: `every Monday at 18:00 UTC`.
 * What is not one of the usual ones stays as it is.
 */
export function scheduleWords(schedule: string): string {
  const read = /^(\d{1,2}) (\d{1,2}|\*|\*\/\d{1,2}) (\d{1,2}|\*) \* ([\d,]+|\*)(?: \(?([\w/+-]+)\)?)?$/.exec(schedule);
  if (read === null) return schedule;
  const [, minute = "0", hour = "*", date = "*", days = "*", zone] = read;
  if (hour === "*") return date === "*" && days === "*" ? words.everyHour(minute) : schedule;
  if (hour.startsWith("*/")) {
    return date === "*" && days === "*" ? words.everyHours(hour.slice(2), minute) : schedule;
  }
  const at = words.at(`${hour.padStart(2, "0")}:${minute.padStart(2, "0")}`, zone);
  if (date !== "*") return days === "*" ? words.everyMonth(date, at) : schedule;
  if (days === "*") return words.everyDay(at);
  // Cron counts from Sunday, and calls it 7 too.
  const names = days.split(",").flatMap((day) => words.days[Number(day) === 7 ? 0 : Number(day)] ?? []);
  return names.length < days.split(",").length ? schedule : words.everyWeek(names, at);
}
