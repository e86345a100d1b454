(() => {
  const key = "fangxin-language";
  const radio = (language) => document.getElementById("show-" + language);
  const show = (language) => {
    document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  };
  let wanted = /^#(en|zh)\b/.exec(location.hash)?.[1];
  try {
    wanted ??= localStorage.getItem(key);
  } catch {
    // A page opened from disk may have no storage: the choice is then not kept.
  }
  wanted ??= navigator.language.startsWith("zh") ? "zh" : "en";
  for (const language of ["en", "zh"]) {
    radio(language).addEventListener("change", () => {
      show(language);
      try {
        localStorage.setItem(key, language);
      } catch {}
    });
  }
  if (radio(wanted)) {
    radio(wanted).checked = true;
    show(wanted);
  }
})();
