// Begin: this runs before the browser has read the compressed texts, which come last in the page.

document.title = page.name;
byId("title").append(...visible(page.name));
byId("foot").append(...visible(page.left_out));
readAddress();
addEventListener("popstate", readAddress);
drawFrame();
drawReport();
listenToKeys();
if (hasSamples) {
  drawList();
  drawProblems();
}
performance.mark("usable");
