// Sends the forms of the reference. The token stays in its field: it is not stored anywhere.
"use strict";

document.querySelectorAll("form[data-path]").forEach((form) => {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const shown = form.querySelector("output");
    shown.textContent = "…";
    try {
      shown.textContent = await send(form);
    } catch (error) {
      shown.textContent = String(error);
    }
  });
});
document.getElementById("token").addEventListener("submit", (event) => event.preventDefault());

async function send(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of form.querySelectorAll("input[data-in]")) {
    if (input.value === "") continue;
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.dataset.in === "query") query.set(input.name, input.value);
    else headers[input.name] = input.value;
  }
  const token = document.querySelector("#token input").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  const body = form.querySelector("textarea");
  if (body) headers["Content-Type"] = "application/json";
  const target = query.size ? `${path}?${query}` : path;
  const answer = await fetch(target, {
    method: form.dataset.method,
    headers,
    body: body ? body.value : undefined,
    credentials: token ? "omit" : "same-origin",
  });
  const text = await answer.text();
  return `${answer.status} ${answer.statusText}\n${pretty(text)}`;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
