"use strict";

// The document names the desk's public address. What is tried on this page goes to where the page came from, which is the
// only place that the page may call, so that address stands in the document here.
(() => {
  const here = new URL(".", document.baseURI).href.replace(/\/$/, "");
  const page = document.getElementById("page");

  // An API key that is typed in is good for this page and no longer: it must not be left in the browser's storage.
  const forget = () => localStorage.removeItem("TryIt_securitySchemeValues");
  forget();
  addEventListener("pagehide", forget);

  const say = (text) => {
    const message = document.createElement("p");
    message.className = "message";
    message.textContent = text;
    page.replaceChildren(message);
  };

  const show = async () => {
    if (!customElements.get("elements-api")) throw new Error("the script that draws it did not load");
    const answer = await fetch("openapi.json");
    if (!answer.ok) throw new Error(`the desk answered ${answer.status}`);
    const text = await answer.text();
    const named = JSON.parse(text).servers[0].url;
    const elements = document.createElement("elements-api");
    elements.setAttribute("router", "hash");
    elements.setAttribute("layout", "responsive");
    elements.setAttribute("tryItCredentialsPolicy", "omit");
    elements.apiDescriptionDocument = text.replaceAll(named, here);
    page.replaceChildren(elements);
  };

  show().catch((problem) => say(`The document could not be shown: ${problem.message}.`));
})();
