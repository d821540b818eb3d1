// Before anything is drawn, so that nobody who chose the dark sees a white flash. A file, since inline scripts are forbidden.
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // No storage: the system's choice holds.
}
