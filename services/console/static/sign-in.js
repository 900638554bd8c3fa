// A link may carry a key behind `#key=`: fragments never reach a server. It is taken out of the address at once, and
// signs in after a click; at once where nobody is signed in and the link says so (`&go`).
function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1));
  const key = given.get("key");
  if (!key) return;
  history.replaceState(null, "", location.pathname + location.search);
  const field = document.getElementById("key");
  field.value = key;
  field.closest("details").open = true;
  field.form.querySelector("button").focus();
  if (given.has("go") && !document.body.dataset.signedIn) field.form.requestSubmit();
}
takeKey();
// Such a link pasted where this page is open already changes nothing but the fragment.
addEventListener("hashchange", takeKey);
// Moments are shown in the browser's time zone.
document.cookie = `basestock_zone=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)}; path=/; max-age=31536000; samesite=lax`;
