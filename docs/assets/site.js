// What Material leaves to be done for the keyboard, once it has built a page: tables and code that scroll sideways can be
// reached, and the switches of its colour schemes, which it hides, cannot.
addEventListener("load", () => {
  document.querySelectorAll(".md-typeset__scrollwrap, pre > code").forEach((wide) => {
    wide.tabIndex = 0;
  });
  document.querySelectorAll(".md-option").forEach((option) => {
    option.tabIndex = -1;
  });
});
