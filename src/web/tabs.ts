/** The tab bar for phones, where the picture comes first and stays in view. */

import { byId } from "./elements.ts";

const phone = matchMedia("(max-width: 44rem)");

/** Puts the picture first on phones and marks the visible section. */
export function createTabs(): void {
  const [left, stage, tour] = [byId("left"), byId("stage"), byId("tour")];
  const picture = stage.querySelector(".picture")!;
  // The tour is next to the picture, or below it on phones.
  const arrange = () => {
    if (phone.matches) {
      left.before(stage);
      picture.after(tour);
    } else {
      left.after(stage);
      left.prepend(tour);
    }
  };
  arrange();
  phone.addEventListener("change", arrange);

  const links = [...byId("tabs").querySelectorAll("a")];
  const sections = links.map((link) => document.querySelector(link.getAttribute("href")!)!.closest("section, form")!);
  const mark = () => {
    if (!phone.matches) return;
    const bottom = innerHeight - byId("tabs").offsetHeight;
    const top = picture.getBoundingClientRect().bottom;
    const seen = sections.map((section) => {
      const box = section.getBoundingClientRect();
      return Math.max(0, Math.min(box.bottom, bottom) - Math.max(box.top, top));
    });
    const most = Math.max(...seen);
    links.forEach((link, i) => (link.ariaCurrent = most > 0 && seen[i] === most ? "true" : null));
  };
  addEventListener("scroll", mark, { passive: true });
  addEventListener("resize", mark);
  // Do not follow the link: the address holds the drawing.
  links.forEach((link, i) =>
    link.addEventListener("click", (event) => {
      event.preventDefault();
      goTo(sections[i]);
    }),
  );
  mark();
}

/** Scrolls a section into view (on phones, below the picture) and focuses it. */
export function goTo(section: Element): void {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  section.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  section.querySelector<HTMLElement>("h2")!.focus({ preventScroll: true });
}

/** On phones, scrolls a section into view. */
export const goToOnPhone = (id: string): void => {
  if (phone.matches) goTo(byId(id));
};
