// The viewer as a document of its own: the view is in the address, votes and name in this browser.

const addressOfDocument = {
  read: () => location.hash,
  // In the sandboxed frame of a notebook there is no address: the view is then simply not linkable.
  write(hash, walked) {
    if (hash === (location.hash || "#")) return;
    try {
      if (walked) history.replaceState(null, "", hash);
      else history.pushState(null, "", hash);
    } catch (error) {
      if (error.name !== "SecurityError") throw error;
    }
  },
  listen: (act) => addEventListener("popstate", act),
};

async function startDocument() {
  const [body, element] = [document.body, document.getElementById("data")];
  const zipped = element.type === "application/gzip";
  const text = zipped ? await unzip(unbase64(element.textContent)) : element.textContent;
  const data = readCollection(text);
  const memory = memoryOfBrowser();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const page = openViewer(
    data,
    {
      root: document,
      body,
      memory,
      store: storeOfBrowser(data.key, memory),
      address: addressOfDocument,
      theme: () => (dark.matches ? "dark" : "light"),
    },
    document.title,
  );
  dark.addEventListener("change", page.theme.show);
}

startDocument();
