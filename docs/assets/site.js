// What Material leaves to be done for keyboards and screen readers, once it has built a page: tables and code that scroll
// sideways can be reached, the switches of its colour schemes, which it hides, cannot, and the search has a name.
addEventListener("load", () => {
  document.querySelectorAll(".md-typeset__scrollwrap, pre > code").forEach((wide) => {
    wide.tabIndex = 0;
  });
  document.querySelectorAll(".md-option").forEach((option) => {
    option.tabIndex = -1;
  });
  document.querySelectorAll(".md-search").forEach((search) => {
    search.ariaLabel = search.querySelector("input").ariaLabel;
  });
});
