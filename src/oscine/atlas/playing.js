// A click on a picture plays its sound, or stops it. Whoever wants to know hears "played".

let playing = null; // {button, audio} while a sound plays.

function stop() {
  if (playing === null) return;
  playing.audio.pause();
  playing.button.classList.remove("playing");
  playing = null;
}

function moveCursor() {
  if (playing === null) return;
  const { button, audio } = playing;
  const share = Math.min(1, audio.currentTime / Number(button.dataset.duration));
  button.querySelector(".cursor").style.left = `${100 * share}%`;
  requestAnimationFrame(moveCursor);
}

function play(button) {
  const audio = button.parentElement.querySelector("audio");
  audio.currentTime = 0;
  audio.onended = stop;
  playing = { button, audio };
  button.classList.add("playing");
  audio.play().catch(() => {
    if (playing?.audio === audio) stop(); // Another sound may have started since.
  });
  moveCursor();
  button.dispatchEvent(new CustomEvent("played", { bubbles: true }));
}

for (const button of document.querySelectorAll("button.picture")) {
  button.addEventListener("click", () => {
    const again = playing?.button === button;
    stop();
    if (!again) play(button);
  });
}

