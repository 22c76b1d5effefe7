// Keys in the panels of a notebook: a key presses the button whose tooltip ends in it, "Next (j)".
// The window hears a key before JupyterLab does, which would take it for a command: x cuts a cell.
(() => {
  if (window.viewerPanelKeys) return;
  window.viewerPanelKeys = true;
  let clicked = null; // the panel that was clicked last, until another key or place is used

  addEventListener("pointerdown", (event) => (clicked = panelOf(event.target)), true);
  addEventListener("keydown", onKey, true);

  function panelOf(element) {
    return element instanceof Element ? element.closest(".viewer-panel") : null;
  }

  function onKey(event) {
    const fields = "input:not([type=checkbox]), textarea, [contenteditable=true]";
    const typing = event.target.matches(fields);
    const plain = event.key.length === 1 && event.key !== " ";
    if (typing || !plain || event.ctrlKey || event.metaKey || event.altKey) {
      clicked = null;
      return;
    }
    const panel = panelOf(event.target) || clicked;
    if (!panel?.isConnected) return;
    event.stopPropagation();
    if (event.target.matches("select")) return;
    event.preventDefault();
    if (!event.repeat || "jk".includes(event.key)) {
      panel.querySelector(`button[title$="(${CSS.escape(event.key)})"]:enabled`)?.click();
    }
  }
})();
