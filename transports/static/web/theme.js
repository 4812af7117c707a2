// Sets the chosen theme before anything is painted; without a choice the system's own theme holds.
(() => {
  try {
    const chosen = localStorage.getItem("eliza.theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch {
    // A browser that keeps nothing follows its system.
  }
})();
