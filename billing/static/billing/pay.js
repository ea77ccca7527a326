// Opens Razorpay's checkout with the options that the page carries.
const open = () => new Razorpay(JSON.parse(document.getElementById("options").textContent)).open();
document.getElementById("pay").addEventListener("click", open);
open();
