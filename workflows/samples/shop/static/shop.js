// The shop works without scripts; this only shows how much room is left in a long text.
for (const area of document.querySelectorAll("textarea[data-counter]")) {
  const counter = document.getElementById(area.dataset.counter);
  const show = () => {
    counter.hidden = area.value.length === 0;
    counter.textContent = `${area.maxLength - area.value.length} characters left`;
  };
  area.addEventListener("input", show);
  show();
}
